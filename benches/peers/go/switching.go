package main

// Benches of the scheduler itself: yield, spawn_join, mutex, skynet, timers.

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Eight goroutines yield in a loop; one operation is one yield.
func yield(o options) {
	const fibers = 8
	measure("", o.scaled(4000000), func(n int) {
		var all sync.WaitGroup
		all.Add(fibers)
		for i := 0; i < fibers; i++ {
			go func() {
				for k := 0; k < n/fibers; k++ {
					runtime.Gosched()
				}
				all.Done()
			}()
		}
		all.Wait()
	})
}

// One at a time: start one, wait for its end. Batch: start a thousand, wait for all.
func spawnJoin(o options) {
	one := make(chan struct{})
	go func() { // in a goroutine of its own, as the other peers' are
		measure("", o.scaled(1000000), func(n int) { spawnRounds(n, 1) })
		measure("batch", o.scaled(1000000), func(n int) { spawnRounds(n, 1000) })
		close(one)
	}()
	<-one
}

func spawnRounds(n, batch int) {
	var all sync.WaitGroup
	for done := 0; done < n; done += batch {
		all.Add(batch)
		for i := 0; i < batch; i++ {
			go func() { all.Done() }()
		}
		all.Wait()
	}
}

// Eight goroutines increment one counter under one lock; one operation is lock, increment, unlock.
func mutex(o options) {
	const contenders = 8
	measure("", o.scaled(8000000), func(n int) {
		var lock sync.Mutex
		var all sync.WaitGroup
		counter := 0
		all.Add(contenders)
		for i := 0; i < contenders; i++ {
			go func() {
				for k := 0; k < n/contenders; k++ {
					lock.Lock()
					counter++
					lock.Unlock()
				}
				all.Done()
			}()
		}
		all.Wait()
		if counter != n/contenders*contenders {
			fail(1, "The mutex lost an increment.")
		}
	})
}

// A tree of goroutines with ten children each; every leaf sends its number, every node the sum of its
// children, over unbuffered channels. One operation is one leaf.
func skynet(o options) {
	measure("", o.scaled(1000000), func(leaves int) {
		size := 1
		for size < leaves {
			size *= 10
		}
		result := make(chan int)
		go skynetNode(result, 0, size)
		if sum := <-result; sum != size*(size-1)/2 {
			fail(1, "skynet computed a wrong sum.")
		}
	})
}

func skynetNode(result chan int, first, size int) {
	if size == 1 {
		result <- first
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynetNode(children, first+i*size/10, size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	result <- sum
}

// A thousand goroutines wait for data with a time limit of one hour; the data come before it each time.
// One operation is one such wait: a timer created, a wake-up, the timer cancelled. The suffix `scope`
// measures a deadline that is set and cancelled with nothing happening in between; `raw` measures a bare
// timer created and stopped.
func timers(o options) {
	measure("", o.scaled(1000000), timedWaits)
	measure("scope", o.scaled(1000000), func(n int) {
		for i := 0; i < n; i++ {
			_, cancel := context.WithTimeout(context.Background(), time.Hour)
			cancel()
		}
	})
	measure("raw", o.scaled(1000000), func(n int) {
		for i := 0; i < n; i++ {
			time.AfterFunc(time.Hour, func() {}).Stop()
		}
	})
}

func timedWaits(n int) {
	const waiters = 1000
	rounds := n/waiters + 1
	inbox := make([]chan int, waiters)
	var all sync.WaitGroup
	all.Add(waiters)
	for i := range inbox {
		inbox[i] = make(chan int)
		go func(in chan int) {
			for k := 0; k < rounds; k++ {
				limit := time.NewTimer(time.Hour)
				select {
				case <-in:
				case <-limit.C:
					fail(1, "A limit of one hour has passed too early.")
				}
				limit.Stop()
			}
			all.Done()
		}(inbox[i])
	}
	for k := 0; k < rounds; k++ {
		for _, in := range inbox {
			in <- k
		}
	}
	all.Wait()
}
