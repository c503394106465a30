package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	checkPath = "/envoy.service.auth.v3.Authorization/Check"
	// Far more than a round receives.
	window = 1<<31 - 1
)

// connection is HTTP/2 with one check at a time on each of its streams, as an Envoy worker has one to a cluster.
type connection struct {
	socket  net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	framer  *http2.Framer
	encoded headerBlock
	decoder *hpack.Decoder
	seen    responseFields
	// calls are those in flight, by stream.
	calls      map[uint32]*call
	lastStream uint32
	// sendWindow is how many bytes the server still takes.
	sendWindow int
	received   int
}

type call struct {
	begun time.Time
	reply []byte
}

type responseFields struct{ status, grpcStatus, grpcMessage string }

var connections = map[string]*connection{}

func driveGRPC(r round, end time.Time, latencies []time.Duration) ([]time.Duration, error) {
	c := connections[r.Address]
	if c == nil {
		opened, err := open(r.Address)
		if err != nil {
			return nil, err
		}
		c = opened
		connections[r.Address] = c
	}
	messages := number(r.Messages)
	waiting := r.InFlight
	for {
		for waiting > 0 && c.sendWindow >= len(r.Messages[0])+64 {
			if err := c.send(messages.next()); err != nil {
				return nil, err
			}
			waiting--
		}
		if len(c.calls)+waiting == 0 {
			return latencies, nil
		}
		if c.in.Buffered() == 0 {
			if err := c.out.Flush(); err != nil {
				return nil, err
			}
		}
		ended, err := c.read()
		if err != nil {
			return nil, err
		}
		if ended == nil {
			continue
		}
		now := time.Now()
		latencies = append(latencies, now.Sub(ended.begun))
		if now.Before(end) {
			waiting++
		}
	}
}

func open(address string) (*connection, error) {
	network := "tcp"
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		network, address = "unix", path
	}
	socket, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &connection{
		socket:     socket,
		in:         bufio.NewReaderSize(socket, 1<<16),
		out:        bufio.NewWriterSize(socket, 1<<16),
		calls:      map[uint32]*call{},
		sendWindow: 65535,
	}
	c.framer = http2.NewFramer(c.out, c.in)
	c.framer.SetReuseFrames()
	c.encoded.prepare()
	c.decoder = hpack.NewDecoder(4096, c.seen.take)
	if _, err := io.WriteString(c.out, http2.ClientPreface); err != nil {
		return nil, err
	}
	settings := []http2.Setting{
		{ID: http2.SettingEnablePush, Val: 0},
		{ID: http2.SettingInitialWindowSize, Val: window},
	}
	if err := c.framer.WriteSettings(settings...); err != nil {
		return nil, err
	}
	return c, c.framer.WriteWindowUpdate(0, window-65535)
}

func (f *responseFields) take(field hpack.HeaderField) {
	switch field.Name {
	case ":status":
		f.status = field.Value
	case "grpc-status":
		f.grpcStatus = field.Value
	case "grpc-message":
		f.grpcMessage = field.Value
	}
}

func (c *connection) send(message []byte) error {
	if c.lastStream == 0 {
		c.lastStream = 1
	} else {
		c.lastStream += 2
	}
	c.calls[c.lastStream] = &call{begun: time.Now()}
	c.sendWindow -= len(message) + 5
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      c.lastStream,
		BlockFragment: c.encoded.next(),
		EndHeaders:    true,
	})
	if err != nil {
		return err
	}
	framed := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(framed[1:], uint32(len(message)))
	return c.framer.WriteData(c.lastStream, true, append(framed, message...))
}

// read takes one frame and gives the call that it ends.
func (c *connection) read() (*call, error) {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		return c.headers(frame)
	case *http2.DataFrame:
		return nil, c.data(frame)
	case *http2.SettingsFrame:
		if frame.IsAck() {
			return nil, nil
		}
		return nil, c.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if frame.IsAck() {
			return nil, nil
		}
		return nil, c.framer.WritePing(true, frame.Data)
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.sendWindow += int(frame.Increment)
		}
		return nil, nil
	case *http2.RSTStreamFrame:
		if c.calls[frame.StreamID] == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("stream reset: %v", frame.ErrCode)
	case *http2.GoAwayFrame:
		return nil, fmt.Errorf("connection ended: %v", frame.ErrCode)
	default:
		return nil, nil
	}
}

func (c *connection) headers(frame *http2.HeadersFrame) (*call, error) {
	if !frame.HeadersEnded() {
		return nil, errors.New("headers in several frames")
	}
	if frame.StreamEnded() {
		c.seen.grpcStatus, c.seen.grpcMessage = "", "none"
	}
	if _, err := c.decoder.Write(frame.HeaderBlockFragment()); err != nil {
		return nil, err
	}
	if err := c.decoder.Close(); err != nil {
		return nil, err
	}
	if !frame.StreamEnded() {
		return nil, nil
	}
	ended := c.calls[frame.StreamID]
	delete(c.calls, frame.StreamID)
	if ended == nil {
		return nil, fmt.Errorf("stream %d ends twice", frame.StreamID)
	}
	if c.seen.status != "200" || c.seen.grpcStatus != "0" {
		return nil, fmt.Errorf("status %s, grpc-status %s %s", c.seen.status, c.seen.grpcStatus, c.seen.grpcMessage)
	}
	if !isAllow(ended.reply) {
		return nil, fmt.Errorf("an allowed request was denied: %q", ended.reply)
	}
	return ended, nil
}

func (c *connection) data(frame *http2.DataFrame) error {
	at := c.calls[frame.StreamID]
	if at == nil {
		return fmt.Errorf("data on stream %d, which has ended", frame.StreamID)
	}
	at.reply = append(at.reply, frame.Data()...)
	c.received += len(frame.Data())
	if c.received < window/2 {
		return nil
	}
	c.received = 0
	return c.framer.WriteWindowUpdate(0, window/2)
}

// isAllow reads as much of a CheckResponse as it needs: field 1 is the status, in which field 1 is the code.
func isAllow(framed []byte) bool {
	if len(framed) < 7 {
		return false
	}
	reply := framed[5:]
	return reply[0] == 0x0a && (reply[1] == 0 || len(reply) > 3 && (reply[2] != 0x08 || reply[3] == 0))
}

// headerBlock is that of a call as Envoy sends it. From the second on, the fields stand in the table of the connection.
type headerBlock struct {
	text    strings.Builder
	encoder *hpack.Encoder
	first   []byte
	later   []byte
	isLater bool
}

func (b *headerBlock) prepare() {
	b.encoder = hpack.NewEncoder(&b.text)
	b.first = b.encode()
	b.later = b.encode()
}

func (b *headerBlock) encode() []byte {
	b.text.Reset()
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", checkPath},
		{":authority", "svidgate"},
		{"te", "trailers"},
		{"content-type", "application/grpc"},
		{"grpc-timeout", "30000m"},
		{"x-envoy-internal", "true"},
	} {
		// A string builder takes all.
		_ = b.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return []byte(b.text.String())
}

func (b *headerBlock) next() []byte {
	if b.isLater {
		return b.later
	}
	b.isLater = true
	return b.first
}
