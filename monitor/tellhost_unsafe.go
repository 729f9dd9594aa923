package monitor

import (
	"unsafe"

	"runtime"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// mmMap is struct prctl_mm_map (linux/prctl.h).
type mmMap struct {
	startCode, endCode, startData, endData, startBrk, brk, startStack uint64
	argStart, argEnd, envStart, envEnd                                uint64
	auxv                                                              uintptr
	auxvSize, exeFD                                                   uint32
}

const (
	prSetMMMap = 14
	heapNamed  = 256 << 20  // the kernel calls [heap] what begins within so many bytes of the heap's start
	noExeFD    = ^uint32(0) // kmdev stays /proc/PID/exe: the kernel changes no file that is mapped
)

// tellHost tells the kernel where the payload's arguments, environment and sections are, so that /proc/PID/cmdline, environ,
// auxv and stat are the payload's for every process that looks: ps on the host, and the payload's own tree. A fork's child
// has what its parent told. It needs no privilege, but a kernel with CONFIG_CHECKPOINT_RESTORE; without, others see kmdev.
// It must be called before the payload runs.
func (m *Machine) tellHost() {
	s, u, auxv := &m.start, m.as.Usage(), m.start.Auxv()
	at := func(gva uint64) uint64 { return usermem.Window + gva }
	mm := mmMap{
		startCode: at(s.StartCode), endCode: at(s.EndCode), startData: at(s.StartData), endData: at(s.EndData),
		startBrk: at(u.BrkStart), brk: at(u.BrkStart) + heapNamed,
		startStack: at(s.StackPointer), argStart: at(s.ArgStart), argEnd: at(s.ArgEnd), envStart: at(s.EnvStart), envEnd: at(s.EnvEnd),
		auxv: uintptr(unsafe.Pointer(unsafe.SliceData(auxv))), auxvSize: uint32(len(auxv)), exeFD: noExeFD,
	}
	r := hostcall.Raw(unix.SYS_PRCTL, unix.PR_SET_MM, prSetMMMap, uintptr(unsafe.Pointer(&mm)), unsafe.Sizeof(mm), 0, 0)
	if m.told = r == 0; !m.told {
		mm.brk = mm.startBrk + 1 // RLIMIT_DATA counts it
		r = hostcall.Raw(unix.SYS_PRCTL, unix.PR_SET_MM, prSetMMMap, uintptr(unsafe.Pointer(&mm)), unsafe.Sizeof(mm), 0, 0)
		m.told = r == 0
	}
	runtime.KeepAlive(auxv)
}
