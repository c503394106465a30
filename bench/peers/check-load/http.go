package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

type client struct {
	socket net.Conn
	in     *bufio.Reader
}

var clients = map[string][]*client{}

// driveHTTP sends the messages as they are, one at a time on each of InFlight connections.
func driveHTTP(r round, end time.Time, latencies []time.Duration) ([]time.Duration, error) {
	for len(clients[r.Address]) < r.InFlight {
		socket, err := r.dial()
		if err != nil {
			return nil, err
		}
		clients[r.Address] = append(clients[r.Address], &client{socket: socket, in: bufio.NewReader(socket)})
	}
	type done struct {
		latencies []time.Duration
		err       error
	}
	results := make(chan done)
	for _, each := range clients[r.Address][:r.InFlight] {
		go func() {
			var d done
			messages := number(r.Messages)
			for d.err == nil && time.Now().Before(end) {
				begun := time.Now()
				d.err = each.ask(messages.next())
				d.latencies = append(d.latencies, time.Since(begun))
			}
			results <- d
		}()
	}
	var failed error
	for range r.InFlight {
		d := <-results
		latencies = append(latencies, d.latencies...)
		if d.err != nil {
			failed = d.err
		}
	}
	return latencies, failed
}

// dial does not look at the certificate of the server, which is not what is measured.
func (r round) dial() (net.Conn, error) {
	if r.TLS == nil {
		return net.Dial("tcp", r.Address)
	}
	pair, err := tls.X509KeyPair([]byte(r.TLS.Chain), []byte(r.TLS.Key))
	if err != nil {
		return nil, err
	}
	return tls.Dial("tcp", r.Address, &tls.Config{
		Certificates:       []tls.Certificate{pair},
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true,
	})
}

// ask wants a 200 with a body of the length that its header says.
func (c *client) ask(message []byte) error {
	if _, err := c.socket.Write(message); err != nil {
		return err
	}
	length := -1
	for number := 0; ; number++ {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if number == 0 && !strings.HasPrefix(text, "HTTP/1.1 200") {
			return fmt.Errorf("answer %q", text)
		}
		if text == "" {
			break
		}
		if value, ok := strings.CutPrefix(text, "content-length: "); ok {
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without a length")
	}
	_, err := io.CopyN(io.Discard, c.in, int64(length))
	return err
}
