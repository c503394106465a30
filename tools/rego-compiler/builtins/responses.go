package main

import (
	"container/list"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// entryOverhead is what an entry takes beside its key and its value.
const entryOverhead = 512

// responseCache keeps responses of http.send between evaluations; when it is full, the oldest go. OPA's own counts
// values only, and some of them as nothing. An evaluation that is given up leaves it as it was.
type responseCache struct {
	maxBytes, usedBytes int
	entries             map[string]*list.Element
	order               *list.List
	// undo reverts what this evaluation has changed, last change first.
	undo []func()
}

type responseEntry struct {
	key   string
	value cache.InterQueryCacheValue
	bytes int
}

var responses = newResponseCache(0)

func newResponseCache(maxBytes int) *responseCache {
	return &responseCache{maxBytes: maxBytes, entries: map[string]*list.Element{}, order: list.New()}
}

func (c *responseCache) Get(key ast.Value) (cache.InterQueryCacheValue, bool) {
	found, known := c.entries[key.String()]
	if !known {
		return nil, false
	}
	return found.Value.(responseEntry).value, true
}

func (c *responseCache) Insert(key ast.Value, value cache.InterQueryCacheValue) int {
	name := key.String()
	c.drop(name)
	entry := responseEntry{key: name, value: value, bytes: len(name) + int(value.SizeInBytes()) + entryOverhead}
	if entry.bytes > c.maxBytes {
		return 0
	}
	dropped := 0
	for c.usedBytes+entry.bytes > c.maxBytes {
		c.drop(c.order.Front().Value.(responseEntry).key)
		dropped++
	}
	c.add(entry)
	c.undo = append(c.undo, func() { c.remove(name) })
	return dropped
}

func (c *responseCache) InsertWithExpiry(key ast.Value, value cache.InterQueryCacheValue, _ time.Time) int {
	return c.Insert(key, value)
}

func (c *responseCache) Delete(key ast.Value) {
	c.drop(key.String())
}

func (c *responseCache) UpdateConfig(*cache.Config) {}

func (c *responseCache) Clone(value cache.InterQueryCacheValue) (cache.InterQueryCacheValue, error) {
	return value.Clone()
}

func (c *responseCache) commit() {
	c.undo = nil
}

func (c *responseCache) rollBack() {
	for i := len(c.undo) - 1; i >= 0; i-- {
		c.undo[i]()
	}
	c.undo = nil
}

func (c *responseCache) drop(key string) {
	if entry, known := c.remove(key); known {
		c.undo = append(c.undo, func() { c.add(entry) })
	}
}

func (c *responseCache) add(entry responseEntry) {
	c.entries[entry.key] = c.order.PushBack(entry)
	c.usedBytes += entry.bytes
}

func (c *responseCache) remove(key string) (responseEntry, bool) {
	found, known := c.entries[key]
	if !known {
		return responseEntry{}, false
	}
	delete(c.entries, key)
	entry := c.order.Remove(found).(responseEntry)
	c.usedBytes -= entry.bytes
	return entry, true
}
