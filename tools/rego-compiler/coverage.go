package main

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
)

// fileCoverage tells which lines of one file the tests evaluated.
type fileCoverage struct {
	File string `json:"file"`
	// Covered and Total count lines with something to evaluate.
	Covered int `json:"covered"`
	Total   int `json:"total"`
	// Uncovered are ranges of lines, both ends included.
	Uncovered [][2]int `json:"uncovered"`
}

// coverageOf leaves out the tests themselves.
func coverageOf(covered *cover.Cover, modules map[string]*ast.Module) []fileCoverage {
	report := covered.Report(modules)
	files := []fileCoverage{}
	for _, name := range sortedKeys(modules) {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		found := report.Files[name]
		lines := map[int]bool{}
		for _, at := range found.Covered {
			mark(lines, at, true)
		}
		file := fileCoverage{File: name, Uncovered: [][2]int{}}
		for _, at := range found.NotCovered {
			mark(lines, at, false) // a line is covered when all of it is
		}
		last := 0
		for _, isCovered := range lines {
			file.Total++
			if isCovered {
				file.Covered++
			}
		}
		for line := 1; line <= maxKey(lines); line++ {
			isCovered, counts := lines[line]
			switch {
			case !counts:
			case isCovered:
				last = 0
			case last > 0:
				file.Uncovered[len(file.Uncovered)-1][1] = line
			default:
				file.Uncovered = append(file.Uncovered, [2]int{line, line})
				last = line
			}
		}
		files = append(files, file)
	}
	return files
}

func mark(lines map[int]bool, at cover.Range, isCovered bool) {
	for line := at.Start.Row; line <= max(at.Start.Row, at.End.Row); line++ {
		lines[line] = isCovered
	}
}

func maxKey(lines map[int]bool) int {
	most := 0
	for line := range lines {
		most = max(most, line)
	}
	return most
}
