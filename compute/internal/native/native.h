// The Vulkan calls that the Go binding cannot make: those newer than Vulkan 1.0, those that take slices, and the hot ones.
#ifndef LORIKEET_NATIVE_H
#define LORIKEET_NATIVE_H

#define VK_NO_PROTOTYPES
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vulkan/vulkan_core.h>

#include "extensions.h"

// Handles cross the language border as 64-bit numbers, so that the collector never takes one for a pointer.
_Static_assert(sizeof(void *) == 8, "handles are passed as 64-bit numbers");

// ---- loader and instance (instance.c)

PFN_vkGetInstanceProcAddr lk_loader(void); // NULL when libvulkan.so.1 cannot be opened
bool lk_has_layer(const char *name);

typedef struct lk_instance lk_instance;
VkResult lk_instance_create(bool validation, lk_instance **out);
void lk_instance_destroy(lk_instance *in);
uint64_t lk_instance_handle(const lk_instance *in);
// Gives at most `capacity` devices and returns how many there are in `count`.
VkResult lk_instance_devices(const lk_instance *in, uint64_t *devices, uint32_t capacity, uint32_t *count);
// Moves the oldest validation message into `text`; false when there is none.
bool lk_instance_message(lk_instance *in, char *text, size_t capacity);

// ---- what a physical device offers (describe.c)

enum lk_feature {
	LK_BUFFER_ADDRESS, LK_TIMELINE, LK_INT64,
	LK_SUBGROUP_BASIC, LK_SUBGROUP_ARITHMETIC, LK_SUBGROUP_BALLOT, LK_SUBGROUP_SHUFFLE,
	LK_STORAGE16, LK_STORAGE8, LK_FLOAT16, LK_INT8, LK_INT16,
	LK_MEMORY_MODEL, LK_SUBGROUP_SIZE_CONTROL, LK_FULL_SUBGROUPS, LK_SYNCHRONIZATION2,
	LK_MEMORY_BUDGET, LK_COOPERATIVE, LK_COOPERATIVE2, LK_COOPERATIVE2_WORKGROUP, LK_COOPERATIVE2_TENSORS,
	LK_BFLOAT16, LK_BFLOAT16_COOPERATIVE, LK_PIPELINE_STATISTICS,
	LK_FEATURES
};

typedef struct {
	uint32_t m, n, k;                  // sizes, or granularities when flexible
	uint32_t a, b, c, result;          // VkComponentTypeKHR
	uint32_t scope;                    // VkScopeKHR
	uint32_t invocations;              // workgroup size it needs; 0 when not flexible
} lk_shape;

enum { LK_MAX_SHAPES = 128, LK_MAX_FAMILIES = 16 };

typedef struct {
	char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
	char driver_name[VK_MAX_DRIVER_NAME_SIZE], driver_info[VK_MAX_DRIVER_INFO_SIZE];
	uint32_t type, api;
	uint32_t subgroup, subgroup_min, subgroup_max;
	uint32_t multiprocessors;          // 0 when the driver does not say
	uint32_t max_invocations, max_shared, max_push, max_groups[3];
	uint64_t max_allocation;
	float timestamp_period;
	bool features[LK_FEATURES];
	int32_t family;                    // queue family for compute, -1 when there is none
	uint32_t timestamp_bits;
	uint32_t families;
	struct { uint32_t flags, queues; } queue_family[LK_MAX_FAMILIES];
	uint32_t memory_types, memory_heaps;
	struct { uint32_t flags, heap; } memory_type[VK_MAX_MEMORY_TYPES];
	struct { uint64_t size; uint32_t flags; } memory_heap[VK_MAX_MEMORY_HEAPS];
	uint32_t shapes;
	lk_shape shape[LK_MAX_SHAPES];
} lk_description;

void lk_describe(const lk_instance *in, uint64_t physical, lk_description *out);
// Bytes this process may still allocate from a heap; 0 when the driver does not say.
uint64_t lk_heap_free(const lk_instance *in, uint64_t physical, uint32_t heap);

// ---- device (device.c)

typedef struct lk_device lk_device;
// The programs' queue and the uploads', each with a timeline of its own.
enum lk_queue { LK_WORK, LK_UPLOADS, LK_QUEUES };

typedef struct { uint32_t family, index; } lk_queue_place;

// How a device is to work. `spin`: waits poll, as suits a GPU. `statistics`: the driver keeps what lk_pipeline_statistics tells.
typedef struct { bool spin, statistics; } lk_device_options;

// Turns on every feature of `d` and opens two queues, which may lie in one place: then they are one.
VkResult lk_device_create(const lk_instance *in, uint64_t physical, const lk_description *d, const lk_queue_place *places, lk_device_options options, lk_device **out);
void lk_device_destroy(lk_device *dev);
uint64_t lk_device_handle(const lk_device *dev);
// Creates a buffer that both queues may use at any time.
VkResult lk_buffer_create(const lk_device *dev, uint64_t size, uint64_t *out);
uint64_t lk_buffer_address(const lk_device *dev, uint64_t buffer);

VkResult lk_cache_load(lk_device *dev, const void *data, size_t size);
VkResult lk_cache_data(const lk_device *dev, void *data, size_t *size);

// Creates a compute pipeline with entry point main; spec[i] is the value of constant_id i. required_subgroup 0 leaves the size to the driver.
VkResult lk_pipeline_create(const lk_device *dev, uint64_t module, const uint32_t *spec, uint32_t specs, uint32_t required_subgroup, uint64_t *out);
void lk_pipeline_destroy(const lk_device *dev, uint64_t pipeline);

typedef struct {
	char name[VK_MAX_DESCRIPTION_SIZE];
	double value;
} lk_statistic;

// Writes what the driver says of a pipeline's machine code, up to `capacity` statistics, and returns how many; 0 where it says nothing.
uint32_t lk_pipeline_statistics(const lk_device *dev, uint64_t pipeline, lk_statistic *out, uint32_t capacity);

// ---- recording and submission (record.c)

enum lk_op { LK_BIND, LK_PUSH, LK_DISPATCH, LK_DISPATCH_INDIRECT, LK_BARRIER, LK_TIMESTAMP, LK_RESET_TIMESTAMPS, LK_COPY, LK_FILL };
enum lk_barrier { LK_BEGIN, LK_STAGE, LK_END, LK_UPLOAD };

typedef struct {
	uint32_t op;                       // enum lk_op
	uint32_t x, y, z;                  // groups; push: offset and size in the push data; barrier: kind; timestamp: query; fill: word
	uint64_t handle;                   // pipeline, indirect buffer, copy or fill destination
	uint64_t offset, size;             // in the buffer of handle
	uint64_t source, source_offset;    // copy only
} lk_command;

VkResult lk_record(const lk_device *dev, uint64_t pool, const lk_command *commands, uint32_t count, const uint8_t *push, uint64_t queries, uint64_t *out);
void lk_program_free(const lk_device *dev, uint64_t pool, uint64_t buffer);

// Submits the command buffers in order; the queue's timeline reaches `value` when all are done. They, and all that the queue gets later,
// begin once the other queue's timeline has reached `after`, and see what was written until then; 0: at once.
VkResult lk_submit(const lk_device *dev, uint32_t queue, const uint64_t *buffers, uint32_t count, uint64_t value, uint64_t after);
VkResult lk_completed(const lk_device *dev, uint32_t queue, uint64_t *value);
VkResult lk_wait(const lk_device *dev, uint32_t queue, uint64_t value, uint64_t *completed);
VkResult lk_timestamps(const lk_device *dev, uint64_t queries, uint32_t count, uint64_t *ticks);

#endif
