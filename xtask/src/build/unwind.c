/* The symbols that the standard library wants of `libunwind`, for programs in which a panic aborts: nothing ever
   unwinds, and a backtrace is empty. The compiler's own library does not link with a static musl: it asks for
   `_dl_find_object`, which only glibc has. */

typedef unsigned long word;
enum { FAILURE = 9, END_OF_STACK = 5 };

static _Noreturn void never(void) { __builtin_trap(); }

int _Unwind_Backtrace(void *step, void *argument) { (void)step; (void)argument; return END_OF_STACK; }
int _Unwind_RaiseException(void *exception) { (void)exception; return END_OF_STACK; }
void _Unwind_Resume(void *exception) { (void)exception; never(); }
void _Unwind_DeleteException(void *exception) { (void)exception; }
word _Unwind_GetIP(void *context) { (void)context; return 0; }
word _Unwind_GetIPInfo(void *context, int *before) { (void)context; if (before) *before = 0; return 0; }
word _Unwind_GetCFA(void *context) { (void)context; return 0; }
void *_Unwind_GetLanguageSpecificData(void *context) { (void)context; return 0; }
word _Unwind_GetRegionStart(void *context) { (void)context; return 0; }
word _Unwind_GetTextRelBase(void *context) { (void)context; return 0; }
word _Unwind_GetDataRelBase(void *context) { (void)context; return 0; }
void *_Unwind_FindEnclosingFunction(void *address) { (void)address; return 0; }
void _Unwind_SetGR(void *context, int index, word value) { (void)context; (void)index; (void)value; }
void _Unwind_SetIP(void *context, word value) { (void)context; (void)value; }

#ifdef __arm__
/* The ARM exception handling ABI has its own names, and a routine that each object file with C in it refers to. */
int _Unwind_VRS_Get(void *c, int class, unsigned index, int form, void *value)
{ (void)c; (void)class; (void)index; (void)form; (void)value; return 2; }
int _Unwind_VRS_Set(void *c, int class, unsigned index, int form, void *value)
{ (void)c; (void)class; (void)index; (void)form; (void)value; return 2; }
int __gnu_unwind_frame(void *block, void *context) { (void)block; (void)context; return FAILURE; }
int __aeabi_unwind_cpp_pr0(int state, void *block, void *context) { (void)state; (void)block; (void)context; return FAILURE; }
int __aeabi_unwind_cpp_pr1(int state, void *block, void *context) { (void)state; (void)block; (void)context; return FAILURE; }
#endif
