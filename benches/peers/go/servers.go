package main

// The servers of the echo, c10k and mixed benches: one goroutine for each connection, with a buffer.

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	messageBytes = 64
	compute      = 'c' // the first byte of a request that computes, as in peers/compute.h
)

func echo(o options)  { serve(o, nil) }
func c10k(o options)  { serve(o, func([]byte) { time.Sleep(o.delay) }) }
func mixed(o options) { serve(o, computeIfAsked) }

// Does `work` for each whole request before it is answered; nil: echoes what comes.
func serve(o options, work func([]byte)) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		fail(1, "The port cannot be bound: "+err.Error()+".")
	}
	fmt.Println("PORT", listener.Addr().(*net.TCPAddr).Port)
	go reportOnSigterm()
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(1, "accept failed: "+err.Error()+".")
		}
		go handle(conn, o.buffer, work)
	}
}

func computeIfAsked(request []byte) {
	if request[0] == compute {
		computeOneMillisecond()
	}
}

func threadCPU() time.Duration {
	var t syscall.Timespec
	const threadCPUClock = 3
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPUClock, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}

var computed uint64

// 1 ms of the thread's own CPU time; pinned, so that the clock is that of one thread.
func computeOneMillisecond() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	x := uint64(1)
	for end := threadCPU() + time.Millisecond; threadCPU() < end; {
		for i := 0; i < 10000; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
	}
	atomic.StoreUint64(&computed, x)
}

func handle(conn net.Conn, size int, work func([]byte)) {
	defer conn.Close()
	buffer := make([]byte, size)
	held := 0
	for {
		n, err := conn.Read(buffer[held:])
		if err != nil {
			return
		}
		held += n
		if work != nil {
			if held < messageBytes {
				continue
			}
			work(buffer[:held])
		}
		if _, err := conn.Write(buffer[:held]); err != nil {
			return
		}
		held = 0
	}
}

func reportOnSigterm() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	report("", "cpu_total_s", cpuSeconds(), "s")
	os.Exit(0)
}
