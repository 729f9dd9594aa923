package confine

import "slices"

// Program is a copy of the filter, one word for each struct sock_filter.
func Program() []uint64 { return slices.Clone(program[:]) }
