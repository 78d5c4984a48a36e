package main

// Benches of many or of greedy goroutines: parked_memory, parked_on_channel, hog_fairness.

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) * 1e-9
}

// The kernel's figures for this process, in bytes.
func memory() (rss, tables float64) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		fail(1, "/proc/self/status cannot be read.")
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			rss = kib * 1024
		case "VmPTE:":
			tables = kib * 1024
		}
	}
	return
}

func sizeName(n int) string {
	switch {
	case n >= 1000000 && n%1000000 == 0:
		return fmt.Sprint(n/1000000, "m")
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprint(n/1000, "k")
	}
	return fmt.Sprint(n)
}

// N goroutines that wait for the same thing at the same time.
type crowd struct {
	n              int
	started, ended int64
	all            sync.WaitGroup
}

func gather(n int, wait func()) *crowd {
	c := &crowd{n: n}
	c.all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt64(&c.started, 1)
			wait()
			atomic.AddInt64(&c.ended, 1)
			c.all.Done()
		}()
	}
	return c
}

// Weighs the process once all of them wait.
func (c *crowd) weigh() (rss, tables float64) {
	for atomic.LoadInt64(&c.started) < int64(c.n) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	return memory()
}

// To be asked when all has been measured.
func (c *crowd) mustStillWait(advice string) {
	if atomic.LoadInt64(&c.ended) != 0 {
		fail(1, "Some goroutines ended before all had been measured"+advice+".")
	}
}

// N goroutines sleep; memory is read while all of them are alive and asleep, CPU time at the end.
func parkedMemory(o options) {
	n := o.scaled(1000000)
	rss0, tables0 := memory()
	cpu0 := cpuSeconds()
	asleep := gather(n, func() { time.Sleep(time.Duration(o.seconds * 1e9)) })
	rss, tables := asleep.weigh()
	idle, begin := cpuSeconds(), time.Now()
	time.Sleep(time.Second)
	idle = 1e3 * (cpuSeconds() - idle) / time.Since(begin).Seconds()
	asleep.mustStillWait(": give more --seconds")
	asleep.all.Wait()
	name := sizeName(n)
	report(name, "rss_bytes_each", (rss-rss0)/float64(n), "bytes")
	report(name, "rss_pte_bytes_each", (rss-rss0+tables-tables0)/float64(n), "bytes")
	report(name, "idle_cpu_ms_s", idle, "ms/s")
	report(name, "cpu_s", cpuSeconds()-cpu0, "s")
}

// N goroutines wait on one channel; memory is read while all of them do.
func parkedOnChannel(o options) {
	n := o.scaled(1000000)
	rss0, _ := memory()
	words := make(chan int)
	waiting := gather(n, func() { <-words })
	rss, _ := waiting.weigh()
	waiting.mustStillWait("")
	close(words)
	waiting.all.Wait()
	report(sizeName(n), "rss_bytes_each", (rss-rss0)/float64(n), "bytes")
}

// Greedy goroutines keep all workers busy; a ticker sleeps 1 ms in a loop. How late does it wake?
func hogFairness(o options) {
	end := time.Now().Add(time.Duration(o.seconds * 1e9))
	var late []float64
	ready, done := make(chan bool), make(chan bool)
	go func() {
		time.Sleep(time.Millisecond)
		close(ready)
		for time.Now().Before(end) {
			begin := time.Now()
			time.Sleep(time.Millisecond)
			late = append(late, float64(time.Since(begin).Nanoseconds()-1000000)/1e3)
		}
		close(done)
	}()
	<-ready // hogs start only now, so that a starved ticker shows as one very late tick
	for i := 0; i < o.hogs*o.workers; i++ {
		go hog(o.kind, end)
	}
	<-done
	sort.Float64s(late)
	at := func(p float64) float64 {
		if len(late) == 0 {
			return 0
		}
		return late[int(p*float64(len(late)-1))]
	}
	suffix := fmt.Sprintf("%s-%dx", o.kind, o.hogs)
	report(suffix, "ticks", float64(len(late)), "ticks")
	report(suffix, "p50_us", at(0.50), "us")
	report(suffix, "p99_us", at(0.99), "us")
}

// spin: computes. syscall: sits in 50 ms system calls. call: calls the runtime, but never has to wait.
func hog(kind string, end time.Time) {
	var lock sync.Mutex
	full := make(chan int, 1)
	full <- 0
	for time.Now().Before(end) {
		switch kind {
		case "spin":
			spin()
		case "syscall":
			syscall.Nanosleep(&syscall.Timespec{Nsec: 50000000}, nil)
		case "call":
			for i := 0; i < 1000; i++ {
				lock.Lock()
				lock.Unlock()
				select {
				case full <- 1:
				default:
				}
			}
		}
	}
}

var sink uint64

func spin() {
	x := uint64(1)
	for i := 0; i < 100000; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	atomic.StoreUint64(&sink, x)
}
