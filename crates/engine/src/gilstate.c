/*
 * Where Pythons before 3.12 keep "the thread state of this thread" for PyGILState_Ensure().
 *
 * They bind the first thread state that a thread ever makes and never another, so a thread that serves several
 * interpreters would send callbacks (sqlite3, ctypes, Cython) into the wrong one, or into a deadlock. From 3.12 on
 * attaching binds. Only the internal header knows the key; Debian and the others ship it with the public ones.
 */
#include <Python.h>
#include <internal/pycore_runtime.h>

Py_tss_t *rustgi_gilstate_key(void)
{
    return &_PyRuntime.gilstate.autoTSSkey;
}
