package conf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// maxFileBytes bounds what is read as a configuration: an allow list of a million prefixes takes 20 MB.
const maxFileBytes = 64 << 20

// draft is a configuration while it is checked, with the places that its parts stand at.
type draft struct {
	Config
	top    reading
	routes []reading // of Routes
	dns    []reading // of DNS
}

// Load reads and checks the configuration in a file. The error is a [Faults] with everything that is wrong, or says
// why the file cannot be read. A nil host leaves out the checks that depend on one.
func Load(path string, host *Host) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text, host)
}

// Parse checks the text of a configuration as Load does. The name of its file is used in messages, and relative paths
// in it are relative to that file's directory.
func Parse(file string, text []byte, host *Host) (*Config, error) {
	if len(text) > maxFileBytes {
		const format = "the file has %d bytes; %d are the limit"
		return nil, Faults{{File: file, Message: fmt.Sprintf(format, len(text), maxFileBytes)}}
	}
	doc, faults := readDocument(file, text)
	if doc == nil {
		return nil, faults
	}
	d := &decoder{file: file, faults: faults}
	c := d.draft(doc)
	d.check(c, host)
	if len(d.faults) > 0 {
		return nil, d.faults.sorted()
	}
	c.File, c.Text, c.Warnings = file, bytes.Clone(text), Faults(d.warnings).sorted()
	return &c.Config, nil
}

// draft decodes all sections of a document.
func (d *decoder) draft(doc *document) *draft {
	c := &draft{}
	sections := d.sections(doc)
	c.top = decode(d, &doc.top, defaults()[""], topKeys, &c.Config)
	if c.AccessLog != "-" {
		c.AccessLog = d.beside(c.AccessLog)
	}
	for i, s := range sections["route"] {
		route, got := d.route(s, i+1)
		c.Routes, c.routes = append(c.Routes, route), append(c.routes, got)
	}
	d.giveListeners(c)
	for i, s := range sections["dns"] {
		server, got := d.dns(s, i+1)
		c.DNS, c.dns = append(c.DNS, server), append(c.dns, got)
	}
	return c
}

// beside returns a path as seen from the file's directory.
func (d *decoder) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}
