package memory

// AppendLine appends v's line of /proc/PID/maps.
func AppendLine(b []byte, v *VMA) []byte { return appendLine(b, v) }
