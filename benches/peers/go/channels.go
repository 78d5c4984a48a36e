package main

// Benches of channels: chan_pingpong, chan_throughput, select, ring.

import "sync"

// One operation is one round trip over two unbuffered channels.
func pingPong(o options) {
	measure("", o.scaled(1000000), func(n int) {
		there, back := make(chan int), make(chan int)
		var all sync.WaitGroup
		all.Add(2)
		go func() {
			for i := 0; i < n; i++ {
				there <- i
				if <-back != i {
					fail(1, "ping-pong got the wrong value back.")
				}
			}
			all.Done()
		}()
		go func() {
			for i := 0; i < n; i++ {
				back <- <-there
			}
			all.Done()
		}()
		all.Wait()
	})
}

// Producers and consumers share one channel of 128 elements; one operation is one message.
func throughput(o options) {
	measure("1x1", o.scaled(5000000), func(n int) { pump(n, 1) })
	measure("4x4", o.scaled(5000000), func(n int) { pump(n, 4) })
}

func pump(n, pairs int) {
	ch := make(chan int, 128)
	each := n / pairs
	var producers, consumers sync.WaitGroup
	sums := make([]int, pairs*8) // eight apart, so that no two share a cache line
	producers.Add(pairs)
	consumers.Add(pairs)
	for p := 0; p < pairs; p++ {
		go func() {
			for i := 0; i < each; i++ {
				ch <- i
			}
			producers.Done()
		}()
		go func(sum *int) {
			for v := range ch {
				*sum += v
			}
			consumers.Done()
		}(&sums[p*8])
	}
	producers.Wait()
	close(ch)
	consumers.Wait()
	total := 0
	for _, s := range sums {
		total += s
	}
	if total != pairs*each*(each-1)/2 {
		fail(1, "chan_throughput lost a message.")
	}
}

// Four producers, each with an unbuffered channel of its own; one consumer selects over the four.
func selectFour(o options) {
	measure("", o.scaled(2000000), func(n int) {
		var ch [4]chan int
		for i := range ch {
			ch[i] = make(chan int)
			go func(ch chan int) {
				for k := 0; k < n/4; k++ {
					ch <- k
				}
			}(ch[i])
		}
		done := make(chan int)
		go func() {
			sum := 0
			for i := 0; i < n/4*4; i++ {
				select {
				case v := <-ch[0]:
					sum += v
				case v := <-ch[1]:
					sum += v
				case v := <-ch[2]:
					sum += v
				case v := <-ch[3]:
					sum += v
				}
			}
			done <- sum
		}()
		if each := n / 4; <-done != 4*(each*(each-1)/2) {
			fail(1, "select lost a message.")
		}
	})
}

// A thousand goroutines in a ring of unbuffered channels pass one token on; one operation is one hop.
func ring(o options) {
	const nodes = 1000
	measure("", o.scaled(2000000), func(n int) {
		laps := n/nodes + 1
		first := make(chan int)
		in := first
		for i := 0; i < nodes-1; i++ {
			out := make(chan int)
			go ringNode(in, out, laps)
			in = out
		}
		last := make(chan int)
		go func(in chan int) { // the last node closes the ring and checks the token
			token := 0
			for l := 0; l < laps; l++ {
				first <- token
				token = <-in
			}
			last <- token
		}(in)
		if <-last != laps*(nodes-1) {
			fail(1, "The ring's token lost a hop.")
		}
	})
}

func ringNode(in, out chan int, laps int) {
	for l := 0; l < laps; l++ {
		out <- <-in + 1
	}
}
