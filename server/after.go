package server

import (
	"errors"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// afterCreate is an error in answer to a request that has made a session. SDKs
// repeat what failed and will pass: without a key that would make another session,
// and have it paid for twice. One for which nothing was paid is repeated.
func afterCreate(c *gin.Context, err error) error {
	if broken, ok := errors.AsType[*brokenError](err); ok && broken.again {
		return err
	}
	if err != nil && c.Request.Header["Idempotency-Key"] == nil {
		c.Header("X-Should-Retry", "false")
	}
	return notThere(err)
}

// notThere is err, without a difference between what was never there and what
// is no more: OpenAI's clients know only 404.
func notThere(err error) error {
	if gone, ok := errors.AsType[*session.GoneError](err); ok {
		return &noneError{codeSession, gone}
	}
	return err
}
