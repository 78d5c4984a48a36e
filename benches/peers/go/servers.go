package main

// The servers of the echo and c10k benches: one goroutine for each connection, with a 1 KiB buffer.

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	messageBytes = 64
	bufferBytes  = 1024
)

func echo(o options) { serve(o, 0) }
func c10k(o options) { serve(o, o.delay) }

func serve(o options, delay time.Duration) {
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
		go handle(conn, delay)
	}
}

// Echoes what comes; with a delay, each whole request waits for its "database" first.
func handle(conn net.Conn, delay time.Duration) {
	defer conn.Close()
	buffer := make([]byte, bufferBytes)
	held := 0
	for {
		n, err := conn.Read(buffer[held:])
		if err != nil {
			return
		}
		held += n
		if delay > 0 {
			if held < messageBytes {
				continue
			}
			time.Sleep(delay)
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
