package target

import "fmt"

// String is the mapping's line in /proc/PID/maps, without newline (proc_pid_maps(5)).
func (m *Mapping) String() string {
	head := fmt.Sprintf("%08x-%08x %s %08x %02x:%02x %d ", m.Start, m.End, m.perms(), m.Offset, m.Major, m.Minor, m.Inode)
	if m.Name == "" {
		return head
	}
	const nameColumn = 73
	return fmt.Sprintf("%-*s%s", nameColumn, head, m.Name)
}

func (m *Mapping) perms() string {
	p := []byte("---p")
	for i, c := range "rwx" {
		if m.Prot>>i&1 != 0 {
			p[i] = byte(c)
		}
	}
	if m.Shared {
		p[3] = 's'
	}
	return string(p)
}
