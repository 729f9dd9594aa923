/* Too big for the static block, so that it is allocated when a thread first uses it. */
__thread char dl_big[1 << 16];
__thread long dl_tls = 9;
long dl_touch(void) { dl_big[5] = 1; return ++dl_tls; }
