package loader

import "testing"

// BenchmarkOpen is everything that the loader does before a program is mapped.
func BenchmarkOpen(b *testing.B) {
	for name, path := range map[string]string{"static": compile(b, "gcc", "-static"), "dynamic": "/bin/true"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := Open(path, []string{path}, []string{"A=1"}, Options{})
				if err != nil {
					b.Fatal(err)
				}
				p.Close()
			}
		})
	}
}

// BenchmarkMap maps into real host memory, without a VM.
func BenchmarkMap(b *testing.B) {
	for name, path := range map[string]string{"static": compile(b, "gcc", "-static"), "dynamic": "/bin/true"} {
		b.Run(name, func(b *testing.B) {
			p, err := Open(path, []string{path}, []string{"A=1"}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			w := newWindow(b)
			for b.Loop() {
				clear(w.pages)
				if _, err := p.Map(w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(w.calls)/float64(b.N), "mmaps/op")
			w.unmap()
		})
	}
}

func BenchmarkFindHostVDSO(b *testing.B) {
	for b.Loop() {
		if _, ok := FindHostVDSO(); !ok {
			b.Fatal("no vDSO")
		}
	}
}
