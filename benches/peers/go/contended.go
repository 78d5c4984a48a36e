package main

// The bench contended: 8, 64 and 1,000 goroutines want the same lock.

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Nothing where golang.org/x/sync is not installed: see semaphore.go.
var contendedSemaphore func(contenders, each, permits int) time.Duration

func contended(o options) {
	n := o.scaled(10000000)
	for _, contenders := range []int{8, 64, 1000} {
		contend(n, "mutex", contenders, contendedMutex)
		contend(n, "rwlock", contenders, contendedRwlock)
		if contendedSemaphore != nil {
			contend(n/10, "semaphore", contenders, func(contenders, each int) time.Duration { // a microsecond each
				return contendedSemaphore(contenders, each, 2*o.workers)
			})
		}
	}
}

func contend(n int, kind string, contenders int, ask func(contenders, each int) time.Duration) {
	ask(contenders, n/10/contenders)
	each := n / contenders
	took := ask(contenders, each)
	report(fmt.Sprintf("%s-%d", kind, contenders), "ns_op", float64(took.Nanoseconds())/float64(contenders*each), "ns")
}

// How long it takes until `contenders` have called once(contender, i) for all i < each, starting them not included.
func race(contenders, each int, once func(contender, i int)) time.Duration {
	var ready, all sync.WaitGroup
	start := make(chan struct{})
	ready.Add(contenders)
	all.Add(contenders)
	for c := 0; c < contenders; c++ {
		go func(c int) {
			ready.Done()
			<-start
			for i := 0; i < each; i++ {
				once(c, i)
			}
			all.Done()
		}(c)
	}
	ready.Wait()
	begin := time.Now()
	close(start)
	all.Wait()
	return time.Since(begin)
}

func contendedMutex(contenders, each int) time.Duration {
	var lock sync.Mutex
	counter := 0
	took := race(contenders, each, func(_, _ int) {
		lock.Lock()
		counter++
		lock.Unlock()
	})
	if counter != contenders*each {
		fail(1, "The mutex lost an increment.")
	}
	return took
}

// Every twentieth operation writes, not all contenders' at the same time.
func contendedRwlock(contenders, each int) time.Duration {
	var lock sync.RWMutex
	counter := 0
	took := race(contenders, each, func(contender, i int) {
		if (contender+i)%20 == 0 {
			lock.Lock()
			counter++
			lock.Unlock()
		} else {
			lock.RLock()
			if counter < 0 {
				fail(1, "The shared mutex let a reader see nonsense.")
			}
			lock.RUnlock()
		}
	})
	for c := 0; c < contenders; c++ {
		for i := 0; i < each; i++ {
			if (c+i)%20 == 0 {
				counter--
			}
		}
	}
	if counter != 0 {
		fail(1, "The shared mutex lost an increment.")
	}
	return took
}

// What runs while it holds a permit; counts who is inside.
func inside(count *int64, permits int) {
	if atomic.AddInt64(count, 1) > int64(permits) {
		fail(1, "The semaphore let too many in.")
	}
	atomic.AddInt64(count, -1)
}
