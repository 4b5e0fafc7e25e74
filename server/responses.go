package server

import (
	"errors"

	"github.com/gin-gonic/gin"
)

func (s *Server) createResponse(c *gin.Context) error   { return errors.ErrUnsupported }
func (s *Server) retrieveResponse(c *gin.Context) error { return errors.ErrUnsupported }
func (s *Server) cancelResponse(c *gin.Context) error   { return errors.ErrUnsupported }
func (s *Server) deleteResponse(c *gin.Context) error   { return errors.ErrUnsupported }
