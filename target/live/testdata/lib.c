__thread long lib_tls = 7;
__thread long lib_more[4];
long lib_touch(void) { return ++lib_tls + lib_more[1]; }
