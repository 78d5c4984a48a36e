//go:build xsync

package main

// contended's semaphore. The standard library has none, so this is golang.org/x/sync's; ./bench sets the tag where
// Debian's package of it is installed.

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"
)

func init() {
	contendedSemaphore = func(contenders, each, permits int) time.Duration {
		limit := semaphore.NewWeighted(int64(permits))
		var count int64
		return race(contenders, each, func(_, _ int) {
			if limit.Acquire(context.Background(), 1) != nil {
				fail(1, "The semaphore refused a permit.")
			}
			inside(&count, permits)
			limit.Release(1)
		})
	}
}
