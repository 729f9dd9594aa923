package gdbserver

import (
	"fmt"
	"strconv"
	"strings"
)

// linkMap is the part of ld.so's struct link_map that the ABI fixes (link.h); glibc and musl agree.
type linkMap struct {
	at                         uint64
	addr, name, ld, next, prev uint64
}

// maxObjects ends a list that the payload has made endless.
const maxObjects = 1 << 16

// debugState finds struct r_debug by the program's DT_DEBUG; 0 if there is none (static), or not yet.
func (s *session) debugState() (uint64, error) {
	slot, err := s.debugSlot()
	if err != nil || slot == 0 {
		return 0, err
	}
	return s.word(slot)
}

// debugSlot is the address of the value of the program's DT_DEBUG, which ld.so fills in; 0 if there is none.
func (s *session) debugSlot() (uint64, error) {
	segments, bias, err := s.program()
	if err != nil {
		return 0, err
	}
	dynamic := find(segments, ptDynamic)
	if dynamic == nil {
		return 0, nil
	}
	for at := bias + dynamic.vaddr; at < bias+dynamic.vaddr+dynamic.memsz; at += 16 {
		tag, err := s.word(at)
		if err != nil {
			return 0, err
		}
		switch tag {
		case dtNull:
			return 0, nil
		case dtDebug:
			return at + 8, nil
		}
	}
	return 0, nil
}

// Offsets in struct r_debug and, from version 2 on, r_debug_extended (glibc's link.h).
const (
	rMap  = 8
	rNext = 40
)

func (s *session) linkMap(at uint64) (linkMap, error) {
	m := linkMap{at: at}
	for i, field := range []*uint64{&m.addr, &m.name, &m.ld, &m.next, &m.prev} {
		w, err := s.word(at + 8*uint64(i))
		if err != nil {
			return m, err
		}
		*field = w
	}
	return m, nil
}

// librariesAnnex is "start=ADDR;prev=ADDR;lmid=ADDR": continue the list of a namespace there. Zero is its beginning.
type librariesAnnex struct{ start, prev, lmid uint64 }

func parseLibrariesAnnex(annex string) (l librariesAnnex, err error) {
	for word := range strings.SplitSeq(annex, ";") {
		if word == "" {
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		v, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			return l, errSyntax
		}
		switch name {
		case "start":
			l.start = v
		case "prev":
			l.prev = v
		case "lmid":
			l.lmid = v
		}
	}
	return l, nil
}

// librariesXML is the object of qXfer:libraries-svr4 ("Library List Format for SVR4 Targets"): one entry for each link
// map; the program's own is the attribute main-lm.
func (s *session) librariesXML(annex string) ([]byte, error) {
	from, err := parseLibrariesAnnex(annex)
	if err != nil {
		return nil, err
	}
	var list librariesList
	if from.start != 0 {
		s.walk(&list, from.lmid, from.start, from.prev)
		return list.xml(), nil
	}
	debug, err := s.debugState()
	if err != nil {
		debug = 0 // before the program is mapped, or after it has damaged itself: no libraries
	}
	for first := debug; debug != 0 && list.objects < maxObjects; {
		start, err := s.word(debug + rMap)
		if err != nil {
			break
		}
		s.walk(&list, debug, start, 0)
		version, err := s.word(first)
		if err != nil || uint32(version) < 2 {
			break
		}
		if debug, err = s.word(debug + rNext); err != nil {
			break
		}
	}
	return list.xml(), nil
}

type librariesList struct {
	body    []byte
	mainMap uint64
	objects int
}

// walk adds a namespace's objects. An l_prev that does not match ends it: the list is being changed or damaged.
func (s *session) walk(list *librariesList, lmid, at, prev uint64) {
	for at != 0 && list.objects < maxObjects {
		m, err := s.linkMap(at)
		if err != nil || m.prev != prev {
			return
		}
		list.objects++
		if prev == 0 && list.mainMap == 0 {
			list.mainMap = at
		} else {
			name, _ := s.text(m.name, 4096)
			list.body = fmt.Appendf(list.body, "<library name=\"%s\" lm=\"0x%x\" l_addr=\"0x%x\" l_ld=\"0x%x\" lmid=\"0x%x\"/>\n",
				xmlText(name), at, m.addr, m.ld, lmid)
		}
		prev, at = at, m.next
	}
}

func (l *librariesList) xml() []byte {
	out := []byte("<library-list-svr4 version=\"1.0\"")
	if l.mainMap != 0 {
		out = fmt.Appendf(out, " main-lm=\"0x%x\"", l.mainMap)
	}
	if len(l.body) == 0 {
		return append(out, "/>\n"...)
	}
	out = append(append(out, ">\n"...), l.body...)
	return append(out, "</library-list-svr4>\n"...)
}
