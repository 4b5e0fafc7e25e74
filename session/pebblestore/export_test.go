package pebblestore

import "github.com/cockroachdb/pebble/v2/vfs"

// OnFS returns o for a store on another file system than the machine's.
func (o Options) OnFS(fs vfs.FS) Options {
	o.fs = fs
	return o
}
