package server

import (
	"errors"

	"github.com/gin-gonic/gin"
)

func (s *Server) createCompletion(c *gin.Context) error   { return errors.ErrUnsupported }
func (s *Server) retrieveCompletion(c *gin.Context) error { return errors.ErrUnsupported }
func (s *Server) deleteCompletion(c *gin.Context) error   { return errors.ErrUnsupported }
func (s *Server) model(c *gin.Context) error              { return errors.ErrUnsupported }
