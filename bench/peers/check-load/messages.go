package main

import (
	"bytes"
	"sync/atomic"
)

const digits = 7

// numbered are messages in which a number of fixed width stands at some places.
type numbered struct {
	messages []message
}

// last goes on from round to round, so that no server has seen a number before.
var last atomic.Int64

type message struct {
	bytes  []byte
	places []int
}

func number(texts [][]byte) *numbered {
	placeholder := bytes.Repeat([]byte("0"), digits)
	n := &numbered{}
	for _, text := range texts {
		m := message{bytes: bytes.Clone(text)}
		for at := 0; ; {
			found := bytes.Index(text[at:], placeholder)
			if found < 0 {
				break
			}
			m.places = append(m.places, at+found)
			at += found + digits
		}
		n.messages = append(n.messages, m)
	}
	return n
}

// next gives a message that is valid until the next call.
func (n *numbered) next() []byte {
	number := int(last.Add(1))
	m := &n.messages[number%len(n.messages)]
	for _, place := range m.places {
		for at, left := place+digits-1, number; at >= place; at, left = at-1, left/10 {
			m.bytes[at] = byte('0' + left%10)
		}
	}
	return m.bytes
}
