// The Go peer: the same questions as bench/*.cpp, asked of goroutines.
//
//	go-peer BENCH --workers N [--quick] [--count N] [--kind WORD] [--hogs N] [--seconds S]
//	        [--port N] [--delay-ms N] [--borrow] [--buffer BYTES]
//
// Only the standard library, but for the semaphore in semaphore.go. --workers is GOMAXPROCS. Each result is one
// JSON line, as in bench.hpp.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

type options struct {
	bench   string
	workers int
	quick   bool
	count   int
	kind    string
	hogs    int
	seconds float64
	port    int
	delay   time.Duration
	buffer  int
}

var benches = map[string]func(options){
	"yield": yield, "spawn_join": spawnJoin, "chan_pingpong": pingPong, "chan_throughput": throughput,
	"select": selectFour, "mutex": mutex, "contended": contended, "skynet": skynet, "ring": ring,
	"timers": timers, "parked_memory": parkedMemory, "parked_on_channel": parkedOnChannel,
	"hog_fairness": hogFairness, "echo": echo, "c10k": c10k, "mixed": mixed,
}

func fail(status int, sentence string) {
	fmt.Fprintln(os.Stderr, sentence)
	os.Exit(status)
}

func number(name, text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 0 {
		fail(2, name+" needs a number that is not negative, but got '"+text+"'.")
	}
	return v
}

func (o *options) set(name, value string) {
	switch name {
	case "--workers":
		o.workers = int(number(name, value))
	case "--count":
		o.count = int(number(name, value))
	case "--kind":
		o.kind = value
	case "--hogs":
		o.hogs = int(number(name, value))
	case "--seconds":
		o.seconds = number(name, value)
	case "--port":
		o.port = int(number(name, value))
	case "--delay-ms":
		o.delay = time.Duration(number(name, value)) * time.Millisecond
	case "--buffer":
		o.buffer = int(number(name, value))
	default:
		fail(2, "There is no option '"+name+"'.")
	}
}

func parse(args []string) options {
	o := options{workers: 1, kind: "spin", hogs: 1, seconds: 3, delay: 100 * time.Millisecond, buffer: 1024}
	for i := 0; i < len(args); i++ {
		switch word := args[i]; {
		case word == "--quick":
			o.quick = true
		case word == "--borrow": // goroutines have no other way to wait, so it changes nothing
		case len(word) < 2 || word[:2] != "--":
			o.bench = word
		case i+1 == len(args):
			fail(2, word+" needs a value.")
		default:
			i++
			o.set(word, args[i])
		}
	}
	return o
}

// A tenth of the work with --quick; --count overrides both.
func (o options) scaled(full int) int {
	if o.count != 0 {
		return o.count
	}
	if o.quick {
		return full / 10
	}
	return full
}

func report(suffix, metric string, value float64, unit string) {
	fmt.Printf("{\"variant_suffix\":%q,\"metric\":%q,\"value\":%.6g,\"unit\":%q}\n", suffix, metric, value, unit)
}

// Warms up with a tenth of the operations, then measures one run.
func measure(suffix string, operations int, work func(n int)) {
	work(operations/10 + 1)
	start := time.Now()
	work(operations)
	report(suffix, "ns_op", float64(time.Since(start).Nanoseconds())/float64(operations), "ns")
}

func main() {
	o := parse(os.Args[1:])
	run, ok := benches[o.bench]
	if !ok {
		fail(3, "The Go peer does not offer '"+o.bench+"'.")
	}
	runtime.GOMAXPROCS(o.workers)
	run(o)
}
