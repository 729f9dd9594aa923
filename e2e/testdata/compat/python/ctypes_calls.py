"""ctypes: calls, callbacks from C, structures, errno, a library built for it, executable memory, fork."""
import ctypes, mmap, os, subprocess

libc = ctypes.CDLL("libc.so.6", use_errno=True)
print(libc.strlen(b"four"), libc.abs(-3))
numbers = (ctypes.c_int * 8)(5, 3, 8, 1, 9, 2, 7, 4)
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
libc.qsort(numbers, len(numbers), 4, compare(lambda a, b: a[0] - b[0]))
print(list(numbers))
print(libc.open(b"/nowhere", 0), os.strerror(ctypes.get_errno()))
class Tm(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int) for n in "sec min hour mday mon year wday yday isdst".split()] + [("gmtoff", ctypes.c_long), ("zone", ctypes.c_char_p)]
t, tm = ctypes.c_long(86400 * 365), Tm()
libc.gmtime_r(ctypes.byref(t), ctypes.byref(tm))
print(tm.year, tm.mon, tm.mday)
open("lib.c", "w").write("double mean(double *v, int n) { double s = 0; for (int i = 0; i < n; i++) s += v[i]; return s / n; }\n")
print(subprocess.call(["gcc", "-shared", "-fPIC", "-O2", "-o", "lib.so", "lib.c"]))
lib = ctypes.CDLL("./lib.so")
lib.mean.restype = ctypes.c_double
print(lib.mean((ctypes.c_double * 4)(1, 2, 3, 4.5), 4))
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\x8d\x47\x01\xc3")  # lea eax, [rdi+1]; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(41))
code[2] = 7
print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(41))
pid = libc.fork()
if pid == 0:
    libc._exit(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(20))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ctypes.string_at(0)
