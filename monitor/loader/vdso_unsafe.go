package loader

import "unsafe"

// Image is a copy of the vDSO's code pages.
func (v HostVDSO) Image() []byte {
	image := make([]byte, v.VdsoSize)
	copy(image, unsafe.Slice((*byte)(unsafe.Pointer(uintptr(v.VdsoStart))), v.VdsoSize))
	return image
}
