package cli_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = ".."

// topLevel is all that may stand there, beside dot files.
var topLevel = []string{
	"go.mod", "server", "chunker", "session", "frontend", "main.go", "README.md",
	"cli", "contract", "bench", "docs", "go.sum", "Makefile", "CHANGELOG.md", "LICENSE",
}

// inward says which packages of ours a package may import: a name with /* is
// the packages below it. The package that main.go is has the name ".".
var inward = map[string][]string{
	".":         {"cli"},
	"cli":       {"server", "session", "session/*", "chunker", "frontend"},
	"server":    {"session", "chunker"},
	"session":   {"chunker"},
	"session/*": {"session"},
	"chunker":   {},
	"frontend":  {},
}

// severalFiles lists the modules that more than one file may import.
var severalFiles = []string{"github.com/gin-gonic/gin", "github.com/cockroachdb/pebble/v2"}

func TestTopLevel(t *testing.T) {
	for _, name := range topEntries(t) {
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s does not belong at the top level", name)
		}
	}
}

// topEntries lists what of the top level is in the repository or, without git,
// what is there and not ignored.
func topEntries(t *testing.T) []string {
	names := make(map[string]bool)
	git := exec.Command("git", "ls-files", "-z")
	git.Dir = root
	if out, err := git.Output(); err == nil && len(out) > 0 {
		for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
			name, _, _ := strings.Cut(path, "/")
			names[name] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	ignore, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	for pattern := range strings.Lines(string(ignore)) {
		pattern = strings.Trim(strings.TrimSpace(pattern), "/")
		for name := range names {
			if match, err := filepath.Match(pattern, name); err == nil && match {
				delete(names, name)
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// A goPackage is what go list tells of one.
type goPackage struct {
	ImportPath string
	Dir        string
	Standard   bool
	Module     *struct {
		Path string
		Main bool
	}
	GoFiles, CgoFiles []string
	Imports           []string
}

// goPackages lists our packages and all that they depend on, by import path.
// Their tests do not count.
func goPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,Module,GoFiles,CgoFiles,Imports", "./...")
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := make(map[string]goPackage)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if err == io.EOF {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

func (p goPackage) ours() bool { return p.Module != nil && p.Module.Main }

// name is the import path without our module's, "." for the module's own.
func (p goPackage) name() string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/"), ".")
}

func TestImportsPointInward(t *testing.T) {
	packages := goPackages(t)
	seen := 0
	for _, p := range packages {
		if !p.ours() {
			continue
		}
		allowed, known := inward[p.name()]
		if parent, _, below := strings.Cut(p.name(), "/"); below {
			allowed, known = inward[parent+"/*"]
		}
		if !known {
			t.Errorf("package %s has no place in the layout", p.name())
			continue
		}
		seen++
		for _, path := range p.Imports {
			to, ok := packages[path]
			if !ok || !to.ours() {
				continue
			}
			parent, _, below := strings.Cut(to.name(), "/")
			if !slices.Contains(allowed, to.name()) && !(below && slices.Contains(allowed, parent+"/*")) {
				t.Errorf("%s imports %s, and may only import %q", p.name(), to.name(), allowed)
			}
		}
	}
	if seen < 7 {
		t.Errorf("saw %d packages, want at least those of the layout", seen)
	}
}

// A third-party module is an affair of one file, so that it can be replaced.
func TestModulesHaveOneImporter(t *testing.T) {
	packages := goPackages(t)
	importers := make(map[string]map[string][]string) // module → package → files
	for _, p := range packages {
		if !p.ours() {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				to := packages[path]
				if to.Module == nil || to.Module.Main {
					continue // the standard library, or ours
				}
				module := to.Module.Path
				if importers[module] == nil {
					importers[module] = make(map[string][]string)
				}
				if files := importers[module][p.name()]; !slices.Contains(files, name) {
					importers[module][p.name()] = append(files, name)
				}
			}
		}
	}
	for _, module := range slices.Sorted(maps.Keys(importers)) {
		by := importers[module]
		if len(by) > 1 {
			t.Errorf("%s is imported by %d packages, want 1: %v", module, len(by), by)
		}
		for name, files := range by {
			if len(files) > 1 && !slices.Contains(severalFiles, module) {
				t.Errorf("%s is imported by %d files of %s, want 1: %q", module, len(files), name, files)
			}
		}
	}
	if by := importers["github.com/gin-gonic/gin"]; len(by) != 1 || by["server"] == nil {
		t.Errorf("gin is imported by %v, want server only", by)
	}
}
