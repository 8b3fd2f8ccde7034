// NCCL's functions on the CPU, for tests: ranks are threads of one process, and collectives take place when all
// ranks have come. Functions whose names start with `fake_` set errors and tell what waits.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { char internal[128]; } Id;
enum { MOST = 16, SUM = 1, BROADCAST, GATHER };

typedef struct {
  Id id;
  int size, joined, arrived, left, aborted, used;
  long round;
  const void* from[MOST];
  void* to[MOST];
} World;

typedef struct { World* world; int rank; } Comm;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static World worlds[64];
static int error, async_error, queued, waiting, ids, asking, freed;

void fake_error(int value) { error = value; }
void fake_async_error(int value) { async_error = value; }
void fake_queue(int value) { queued = value; }
int fake_waiting(void) {
  pthread_mutex_lock(&mutex);
  int found = waiting;
  pthread_mutex_unlock(&mutex);
  return found;
}

// Whether a communicator was freed while it was asked for errors.
int fake_freed(void) {
  pthread_mutex_lock(&mutex);
  int found = freed;
  pthread_mutex_unlock(&mutex);
  return found;
}

const char* ncclGetErrorString(int status) {
  static char text[32];
  snprintf(text, sizeof(text), "fake error %d", status);
  return text;
}

int ncclGetUniqueId(Id* id) {
  if (error) return error;
  memset(id, 0, sizeof(*id));
  pthread_mutex_lock(&mutex);
  snprintf(id->internal, sizeof(id->internal), "world %d", ++ids);
  pthread_mutex_unlock(&mutex);
  id->internal[127] = 'e';
  return 0;
}

int ncclCommInitRank(void** out, int size, Id id, int rank) {
  pthread_mutex_lock(&mutex);
  World* world = NULL;
  for (int i = 0; i < 64 && !world; ++i)
    if (!worlds[i].used || memcmp(&worlds[i].id, &id, sizeof(id)) == 0) world = &worlds[i];
  if (!world->used) {
    world->used = 1;
    world->id = id;
    world->size = size;
  }
  ++world->joined;
  pthread_cond_broadcast(&changed);
  while (world->joined < size) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  Comm* comm = malloc(sizeof(Comm));
  comm->world = world;
  comm->rank = rank;
  *out = comm;
  return 0;
}

static size_t width(int type) {
  static const size_t widths[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return widths[type];
}

static void add(void* to, const void* from, size_t count, int type) {
  for (size_t i = 0; i < count; ++i) {
    if (type == 7) ((float*)to)[i] += ((const float*)from)[i];
    if (type == 8) ((double*)to)[i] += ((const double*)from)[i];
    if (type == 4) ((int64_t*)to)[i] += ((const int64_t*)from)[i];
  }
}

// The last rank that comes does the work of all.
static void work(World* world, int kind, size_t count, int type, int root) {
  size_t bytes = count * width(type);
  if (kind == SUM) {
    char* sum = calloc(1, bytes);
    for (int r = 0; r < world->size; ++r) add(sum, world->from[r], count, type);
    for (int r = 0; r < world->size; ++r) memcpy(world->to[r], sum, bytes);
    free(sum);
  }
  if (kind == BROADCAST)
    for (int r = 0; r < world->size; ++r)
      if (r != root) memcpy(world->to[r], world->from[root], bytes);
  if (kind == GATHER)
    for (int r = 0; r < world->size; ++r)
      for (int other = 0; other < world->size; ++other)
        memcpy((char*)world->to[r] + other * bytes, world->from[other], bytes);
}

static int collective(Comm* comm, int kind, const void* from, void* to, size_t count, int type, int root) {
  if (error) return error;
  World* world = comm->world;
  pthread_mutex_lock(&mutex);
  world->from[comm->rank] = from;
  world->to[comm->rank] = to;
  long round = world->round;
  if (++world->arrived == world->size) {
    work(world, kind, count, type, root);
    world->arrived = 0;
    ++world->round;
    pthread_cond_broadcast(&changed);
  } else {
    ++waiting;
    if (!queued) {
      while (world->round == round && !world->aborted) pthread_cond_wait(&changed, &mutex);
      --waiting;
    }
  }
  pthread_mutex_unlock(&mutex);
  return 0;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Comm* comm, void* stream) {
  return op || stream ? 4 : collective(comm, SUM, from, to, count, type, 0);
}
int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void* stream) {
  return stream ? 4 : collective(comm, BROADCAST, from, to, count, type, root);
}
int ncclAllGather(const void* from, void* to, size_t count, int type, Comm* comm, void* stream) {
  return stream ? 4 : collective(comm, GATHER, from, to, count, type, 0);
}
int ncclCommGetAsyncError(Comm* comm, int* status) {
  (void)comm;
  pthread_mutex_lock(&mutex);
  ++asking;
  pthread_mutex_unlock(&mutex);
  usleep(20000);
  pthread_mutex_lock(&mutex);
  --asking;
  *status = async_error;
  pthread_mutex_unlock(&mutex);
  return 0;
}
int ncclCommAbort(Comm* comm) {
  pthread_mutex_lock(&mutex);
  comm->world->aborted = 1;
  if (asking) freed = 1;
  if (queued) waiting = 0;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  free(comm);
  return 0;
}
