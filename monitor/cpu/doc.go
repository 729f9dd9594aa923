// Package cpu asks the processor what it is: CPUID, XCR0 and the layout of the XSAVE area. Everything in it may be
// called from any thread; the answers do not change while the machine runs.
//
// CPUID is a VM exit where the host is itself a VM (tens of microseconds), so nothing here runs at package
// initialisation and UserXState keeps its answer.
package cpu
