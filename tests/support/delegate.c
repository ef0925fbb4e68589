/* The smallest delegate of TensorFlow Lite: it takes no operator, and writes its options into the file "log". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Delegate {
    void *data;
    int (*prepare)(void *context, struct Delegate *delegate);
    void *copy_from_buffer, *copy_to_buffer, *free_buffer;
    int64_t flags;
    void *opaque_builder;
} Delegate;

static int prepare(void *context, Delegate *delegate) { return 0; }

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    const char *log = NULL;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i], "log")) log = values[i];
    if (!log) {
        report("the option log is missing");
        return NULL;
    }
    FILE *file = fopen(log, "w");
    for (size_t i = 0; i < count; i++) fprintf(file, "%s=%s\n", keys[i], values[i]);
    fclose(file);
    Delegate *made = calloc(1, sizeof *made);
    made->prepare = prepare;
    return made;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
