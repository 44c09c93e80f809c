// A rival: filepath.WalkDir and encoding/json, one JSON line an entry to standard output.
//
//	walkdir ROOT
package main

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

type entry struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Type     string `json:"type"`
	Size     int64  `json:"size"`
	Modified string `json:"modified"`
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode.IsRegular():
		return "file"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	}
	return "other"
}

func main() {
	root := os.Args[1]
	out := bufio.NewWriterSize(os.Stdout, 256*1024)
	defer out.Flush()
	lines := json.NewEncoder(out)
	_ = filepath.WalkDir(root, func(path string, found fs.DirEntry, err error) error {
		if err != nil || path == root {
			return nil
		}
		about, err := found.Info()
		if err != nil {
			return nil
		}
		return lines.Encode(entry{found.Name(), path, kind(about.Mode()), about.Size(),
			about.ModTime().UTC().Format(time.RFC3339)})
	})
}
