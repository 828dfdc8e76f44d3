// An argument that an abandoned job does not own.
// expect: a job that may be abandoned must own its arguments: no pointers, std::reference_wrapper or views; pass a copy, or borrowed(x) if it outlives the job
#include <ferry/to_thread.hpp>

void use(int* p);

ferry::task<> body(int& local) {
    co_await ferry::to_thread(ferry::abandon_on_cancel, use, &local);
}
