/* The kernel for one kind of CPU: compiled once for each, with LEVEL as its name. */
#include "numbers.h"

#include "products.h"

#include "recurrence.h"

#include "layers.h"

#include "losses.h"

#ifdef _WIN32
#define SHOWN __declspec(dllexport)
#else
#define SHOWN __attribute__((visibility("default")))
#endif
#define JOINED(name, level) birnn_##name##_##level
#define NAMED(name, level) JOINED(name, level)
#define EXPORT(name) SHOWN NAMED(name, LEVEL)

isize EXPORT(packed_floats)(int32_t cell, isize features, isize hidden) {
    return panels_of(cell, features, hidden).all;
}
isize EXPORT(saved_floats)(int32_t cell, isize hidden) { return row_floats(cell, hidden); }

void EXPORT(pack)(const struct call *call, float *to) {
    for (int d = 0; d < call->directions; d++)
        pack_direction(call, d, to + d * panels_of(call->cell, call->features, call->hidden).all);
}
int32_t EXPORT(forward)(const struct call *call) { return recurrence_forward(call); }
int32_t EXPORT(backward)(const struct call *call) { return recurrence_backward(call); }

int32_t EXPORT(linear_forward)(struct linear *l) { return linear_forward(l); }
int32_t EXPORT(linear_backward)(struct linear *l) { return linear_backward(l); }
void EXPORT(pool)(struct pool *p) { birnn_divide(pool_sequence, p, p->batch, p->threads); }
void EXPORT(pool_back)(struct pool *p) {
    birnn_divide(pool_sequence_back, p, p->batch, p->threads);
}
void EXPORT(embedding_backward)(const float *grads, const int64_t *rows, isize count, isize width,
                                float *to) {
    embedding_backward(grads, rows, count, width, to);
}
void EXPORT(dropout)(struct dropout *d) {
    birnn_divide(drop, d, (d->count + ELEMENTS_AN_ITEM - 1) / ELEMENTS_AN_ITEM, d->threads);
}
void EXPORT(gather)(const struct gather *g) { gather(g); }
int32_t EXPORT(softmax)(struct loss *l) {
    birnn_divide(softmax_rows, l, (l->rows + ROWS_A_LOSS - 1) / ROWS_A_LOSS, l->threads);
    return l->failed ? -1 : 0;
}
int32_t EXPORT(cross_entropy)(struct loss *l, double *totals) { return cross_entropy(l, totals); }
int32_t EXPORT(adam)(struct adam *a) { return adam(a); }

void EXPORT(borrow)(birnn_team *team) { birnn_borrow(team); }
