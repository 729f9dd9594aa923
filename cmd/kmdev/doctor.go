package main

import (
	"fmt"
	"os"

	"kmdev/monitor"
)

const doctorIntro = `usage: kmdev doctor [--virt-device PATH]

Probe this host's KVM and say what it offers, what it lacks, and what to do about it. The exit status is 0 if payloads can run.

`

func cmdDoctor(args []string) int {
	device, help := "/dev/kvm", false
	options := []option{
		{"--virt-device", "PATH", "the KVM device (default /dev/kvm)", func(v string) error { device = v; return nil }},
		{"-h,--help", "", "print this", func(string) error { help = true; return nil }},
	}
	rest, err := parse(args, options)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected %q", rest[0])
	}
	if err != nil {
		return complain(exitUsage, "doctor: %v; see kmdev doctor --help", err)
	}
	if help {
		fmt.Print(doctorIntro)
		printOptions(os.Stdout, options)
		return 0
	}
	ok := true
	for _, f := range monitor.Examine(device) {
		fmt.Printf("%-8s %-28s %s\n", f.Verdict, f.What, f.Found)
		if f.Fix != "" {
			fmt.Printf("%-37s → %s\n", "", f.Fix)
		}
		ok = ok && f.Verdict != monitor.Missing
	}
	if !ok {
		fmt.Println("\nPayloads can't run on this host until what is missing is there.")
		return exitFailure
	}
	fmt.Println("\nPayloads can run on this host.")
	return 0
}
