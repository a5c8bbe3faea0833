#include "device.h"

#include <time.h>

// begin: all earlier work, copies and host writes come before the program's dispatches and the counts they read.
// stage: the dispatches before come before the dispatches after.
// end:   what the program wrote comes before what the host reads.
// upload: earlier copies come before the copies after; all that a queue for transfers alone can order.
static void barrier(const lk_device *dev, VkCommandBuffer cb, uint32_t kind) {
	VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER};
	VkPipelineStageFlags before, after;
	switch (kind) {
	case LK_BEGIN:
		before = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT;
		after = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT;
		memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT;
		memory.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
			VK_ACCESS_INDIRECT_COMMAND_READ_BIT;
		break;
	case LK_STAGE:
		before = after = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
		memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
		memory.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
		break;
	case LK_UPLOAD:
		before = after = VK_PIPELINE_STAGE_TRANSFER_BIT;
		memory.srcAccessMask = memory.dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
		break;
	default:
		before = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
		after = VK_PIPELINE_STAGE_HOST_BIT;
		memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
		memory.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
	}
	dev->barrier(cb, before, after, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void record_one(const lk_device *dev, VkCommandBuffer cb, const lk_command *c, const uint8_t *push, VkQueryPool queries) {
	switch (c->op) {
	case LK_BIND:
		dev->bind(cb, VK_PIPELINE_BIND_POINT_COMPUTE, lk_handle(c->handle));
		break;
	case LK_PUSH:
		dev->push(cb, dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, c->y, push + c->x);
		break;
	case LK_DISPATCH:
		dev->dispatch(cb, c->x, c->y, c->z);
		break;
	case LK_DISPATCH_INDIRECT:
		dev->dispatch_indirect(cb, lk_handle(c->handle), c->offset);
		break;
	case LK_BARRIER:
		barrier(dev, cb, c->x);
		break;
	case LK_TIMESTAMP:
		dev->timestamp(cb, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, queries, c->x);
		break;
	case LK_RESET_TIMESTAMPS:
		dev->reset_queries(cb, queries, 0, c->x);
		break;
	case LK_COPY: {
		VkBufferCopy region = {.srcOffset = c->source_offset, .dstOffset = c->offset, .size = c->size};
		dev->copy(cb, lk_handle(c->source), lk_handle(c->handle), 1, &region);
		break;
	}
	case LK_FILL:
		dev->fill(cb, lk_handle(c->handle), c->offset, c->size, c->x);
		break;
	}
}

VkResult lk_record(const lk_device *dev, uint64_t pool, const lk_command *commands, uint32_t count, const uint8_t *push, uint64_t queries, uint64_t *out) {
	VkCommandBufferAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = lk_handle(pool), .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY, .commandBufferCount = 1};
	VkCommandBuffer cb;
	VkResult r = dev->allocate_commands(dev->handle, &allocate, &cb);
	if (r != VK_SUCCESS)
		return r;
	VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
	r = dev->begin(cb, &begin);
	if (r == VK_SUCCESS) {
		for (uint32_t i = 0; i < count; i++)
			record_one(dev, cb, &commands[i], push, lk_handle(queries));
		r = dev->end(cb);
	}
	if (r != VK_SUCCESS) {
		dev->free_commands(dev->handle, lk_handle(pool), 1, &cb);
		return r;
	}
	*out = lk_number(cb);
	return VK_SUCCESS;
}

void lk_program_free(const lk_device *dev, uint64_t pool, uint64_t buffer) {
	VkCommandBuffer cb = lk_handle(buffer);
	dev->free_commands(dev->handle, lk_handle(pool), 1, &cb);
}

VkResult lk_submit(const lk_device *dev, uint32_t queue, const uint64_t *buffers, uint32_t count, uint64_t value, uint64_t after) {
	const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
	VkTimelineSemaphoreSubmitInfo timeline = {
		.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
		.waitSemaphoreValueCount = after ? 1 : 0,
		.pWaitSemaphoreValues = &after,
		.signalSemaphoreValueCount = 1,
		.pSignalSemaphoreValues = &value,
	};
	VkSubmitInfo info = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.pNext = &timeline,
		.waitSemaphoreCount = after ? 1 : 0,
		.pWaitSemaphores = &dev->queue[queue == LK_WORK ? LK_UPLOADS : LK_WORK].timeline,
		.pWaitDstStageMask = &all,
		.commandBufferCount = count,
		.pCommandBuffers = (const VkCommandBuffer *)buffers,
		.signalSemaphoreCount = 1,
		.pSignalSemaphores = &dev->queue[queue].timeline,
	};
	return dev->submit(dev->queue[queue].handle, 1, &info, VK_NULL_HANDLE);
}

VkResult lk_completed(const lk_device *dev, uint32_t queue, uint64_t *value) {
	VkResult r = dev->counter(dev->handle, dev->queue[queue].timeline, value);
	// A lost device may report its loss as the largest possible value.
	return r == VK_SUCCESS && *value == UINT64_MAX ? VK_ERROR_DEVICE_LOST : r;
}

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static VkResult block(const lk_device *dev, uint32_t queue, uint64_t value) {
	VkSemaphoreWaitInfo info = {
		.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = 1, .pSemaphores = &dev->queue[queue].timeline, .pValues = &value};
	VkResult r;
	do
		r = dev->wait(dev->handle, &info, 1000000000u);
	while (r == VK_TIMEOUT);
	return r;
}

VkResult lk_wait(const lk_device *dev, uint32_t queue, uint64_t value, uint64_t *completed) {
	const uint64_t spin = 200000, nap = 1000000000; // nanoseconds: poll hard, then with naps, and after that let the driver wait
	VkResult r = lk_completed(dev, queue, completed);
	for (uint64_t start = now(), passed = 0; dev->options.spin && r == VK_SUCCESS && *completed < value && passed < nap; passed = now() - start) {
		if (passed > spin)
			nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
		r = lk_completed(dev, queue, completed);
	}
	if (r == VK_SUCCESS && *completed < value) {
		r = block(dev, queue, value);
		if (r == VK_SUCCESS)
			r = lk_completed(dev, queue, completed);
	}
	return r;
}

VkResult lk_timestamps(const lk_device *dev, uint64_t queries, uint32_t count, uint64_t *ticks) {
	return dev->query_results(dev->handle, lk_handle(queries), 0, count, count * sizeof *ticks, ticks, sizeof *ticks, VK_QUERY_RESULT_64_BIT);
}
