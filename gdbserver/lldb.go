package gdbserver

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// lldbPackets are lldb's own (lldb's docs/resources/lldbgdbremote.md): without the first two it does not know that the
// process is a Linux one, and finds neither its libraries nor where a position-independent program lies.
var lldbPackets = sync.OnceValue(func() map[string]packetRow {
	return map[string]packetRow{
		"qHostInfo":           {serve: hostInfo, late: true},
		"qProcessInfo":        {serve: processInfo},
		"qShlibInfoAddr":      {serve: shlibInfo},
		"qMemoryRegionInfo":   {serve: memoryRegion},
		"QEnableErrorStrings": {serve: enableErrorStrings, late: true},
	}
})

const lldbTriple = "x86_64-pc-linux-gnu"

// systemInfo is what both info packets say of the machine.
func systemInfo() []byte {
	return append(appendHex([]byte("triple:"), []byte(lldbTriple)), ";ostype:linux;ptrsize:8;endian:little;"...)
}

func hostInfo(_ *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	out := systemInfo()
	if name, err := os.Hostname(); err == nil {
		out = append(appendHex(append(out, "hostname:"...), []byte(name)), ';')
	}
	return fmt.Appendf(out, "vm-page-size:%d;watchpoint_exceptions_received:after;", os.Getpagesize()), nil
}

func processInfo(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	return append(fmt.Appendf(nil, "pid:%x;", s.pid), systemInfo()...), nil
}

// shlibInfo: qShlibInfoAddr is where the address of ld.so's struct r_debug is, or will be. Without it lldb takes the
// library list's main-lm for that, and never sees a library that is loaded later.
func shlibInfo(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	slot, err := s.debugSlot()
	if err == nil && slot == 0 {
		err = errorf("the program is static")
	}
	return strconv.AppendUint(nil, slot, 16), err
}

// memoryRegion: qMemoryRegionInfo:ADDR tells of the mapping that holds an address, or of the hole.
func memoryRegion(s *session, a *args) ([]byte, error) {
	a.want(":")
	addr := a.hex()
	if !a.done() {
		return nil, errSyntax
	}
	maps, err := s.proc.Maps()
	if err != nil {
		return nil, err
	}
	next := sort.Search(len(maps), func(i int) bool { return maps[i].End > addr })
	if next < len(maps) && maps[next].Start <= addr {
		return regionReply(&maps[next]), nil
	}
	start, end := uint64(0), ^uint64(0)
	if next > 0 {
		start = maps[next-1].End
	}
	if next < len(maps) {
		end = maps[next].Start
	}
	return fmt.Appendf(nil, "start:%x;size:%x;", start, end-start), nil
}

func regionReply(m *target.Mapping) []byte {
	out := fmt.Appendf(nil, "start:%x;size:%x;permissions:", m.Start, m.End-m.Start)
	for i, right := range []target.Prot{target.Read, target.Write, target.Exec} {
		if m.Prot&right != 0 {
			out = append(out, "rwx"[i])
		}
	}
	out = append(out, ';')
	if m.Name != "" {
		out = append(appendHex(append(out, "name:"...), []byte(m.Name)), ';')
	}
	return out
}

// enableErrorStrings is the first packet that tells lldb from gdb.
func enableErrorStrings(s *session, a *args) ([]byte, error) {
	if !a.done() {
		return nil, errSyntax
	}
	s.client.errors = styleLLDB
	return okReply, nil
}

func (c *clientFeatures) isLLDB() bool { return c.errors == styleLLDB }

// plainStop is the signal that a stop without one of its own is shown as. SIGTRAP makes lldb look for a breakpoint at
// the PC; where it stopped the process for its own sake it expects another one.
func (s *session) plainStop(reason target.StopReason) unix.Signal {
	if s.client.isLLDB() && (reason == target.StopStart || reason == target.StopInterrupt) {
		return unix.SIGINT
	}
	return unix.SIGTRAP
}

// lldbReasons are what lldb must be told of a stop. Without a reason it takes a thread whose PC is at any breakpoint of
// its own for one that has hit it: a process that waits at its entry, where lldb has one, would go on at once.
var lldbReasons = sync.OnceValue(func() map[target.StopReason]string {
	return map[target.StopReason]string{
		target.StopStart: "signal", target.StopInterrupt: "signal", target.StopSignal: "signal", target.StopCreated: "signal",
		target.StopSyscallEntry: "signal", target.StopSyscallReturn: "signal",
		target.StopBreakpoint: "breakpoint", target.StopStep: "trace",
	}
})

func (s *session) appendLLDBReason(out []byte, stop *target.Stop) []byte {
	if r := lldbReasons()[stop.Reason]; r != "" && s.client.isLLDB() {
		return fmt.Appendf(out, "reason:%s;", r)
	}
	return out
}
