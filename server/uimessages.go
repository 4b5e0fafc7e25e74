package server

import (
	"errors"

	"github.com/gin-gonic/gin"
)

func (s *Server) createChat(c *gin.Context) error { return errors.ErrUnsupported }
func (s *Server) followChat(c *gin.Context) error { return errors.ErrUnsupported }
func (s *Server) stopChat(c *gin.Context) error   { return errors.ErrUnsupported }
