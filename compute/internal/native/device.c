#include "device.h"

#include <stdlib.h>
#include <string.h>

static bool load_device(lk_device *dev, PFN_vkGetDeviceProcAddr proc) {
	bool ok = true;
#define LOAD(field, name) ok &= (dev->field = (PFN_##name)proc(dev->handle, #name)) != NULL
	LOAD(destroy, vkDestroyDevice);
	LOAD(get_queue, vkGetDeviceQueue);
	LOAD(create_semaphore, vkCreateSemaphore);
	LOAD(destroy_semaphore, vkDestroySemaphore);
	LOAD(create_buffer, vkCreateBuffer);
	LOAD(create_layout, vkCreatePipelineLayout);
	LOAD(destroy_layout, vkDestroyPipelineLayout);
	LOAD(create_cache, vkCreatePipelineCache);
	LOAD(destroy_cache, vkDestroyPipelineCache);
	LOAD(cache_data, vkGetPipelineCacheData);
	LOAD(create_pipelines, vkCreateComputePipelines);
	LOAD(destroy_pipeline, vkDestroyPipeline);
	LOAD(buffer_address, vkGetBufferDeviceAddress);
	LOAD(allocate_commands, vkAllocateCommandBuffers);
	LOAD(free_commands, vkFreeCommandBuffers);
	LOAD(begin, vkBeginCommandBuffer);
	LOAD(end, vkEndCommandBuffer);
	LOAD(bind, vkCmdBindPipeline);
	LOAD(push, vkCmdPushConstants);
	LOAD(dispatch, vkCmdDispatch);
	LOAD(dispatch_indirect, vkCmdDispatchIndirect);
	LOAD(barrier, vkCmdPipelineBarrier);
	LOAD(timestamp, vkCmdWriteTimestamp);
	LOAD(reset_queries, vkCmdResetQueryPool);
	LOAD(copy, vkCmdCopyBuffer);
	LOAD(fill, vkCmdFillBuffer);
	LOAD(submit, vkQueueSubmit);
	LOAD(counter, vkGetSemaphoreCounterValue);
	LOAD(wait, vkWaitSemaphores);
	LOAD(query_results, vkGetQueryPoolResults);
	if (dev->options.statistics) {
		LOAD(executables, vkGetPipelineExecutablePropertiesKHR);
		LOAD(executable_statistics, vkGetPipelineExecutableStatisticsKHR);
	}
#undef LOAD
	return ok;
}

// Leaves on only what the project uses: some features (robustness, capture and replay) cost speed.
static void keep_used(lk_features *f) {
	VkPhysicalDeviceFeatures core = {.shaderInt64 = f->core.features.shaderInt64, .shaderInt16 = f->core.features.shaderInt16};
	f->core.features = core;
#define KEEP(member, ...) do { __typeof__(f->member) all = f->member; __typeof__(f->member) keep = {.sType = all.sType, .pNext = all.pNext, __VA_ARGS__}; f->member = keep; } while (0)
	KEEP(v11, .storageBuffer16BitAccess = all.storageBuffer16BitAccess);
	KEEP(v12, .storageBuffer8BitAccess = all.storageBuffer8BitAccess, .shaderFloat16 = all.shaderFloat16, .shaderInt8 = all.shaderInt8,
		.bufferDeviceAddress = all.bufferDeviceAddress, .timelineSemaphore = all.timelineSemaphore, .vulkanMemoryModel = all.vulkanMemoryModel,
		.vulkanMemoryModelDeviceScope = all.vulkanMemoryModelDeviceScope);
	KEEP(v13, .subgroupSizeControl = all.subgroupSizeControl, .computeFullSubgroups = all.computeFullSubgroups, .synchronization2 = all.synchronization2);
#undef KEEP
	f->cooperative.cooperativeMatrixRobustBufferAccess = VK_FALSE;
}

static VkResult create_objects(lk_device *dev) {
	VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
	VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
	for (int i = 0; i < LK_QUEUES; i++) {
		VkResult r = dev->create_semaphore(dev->handle, &semaphore, NULL, &dev->queue[i].timeline);
		if (r != VK_SUCCESS)
			return r;
	}
	VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = LK_PUSH_BYTES};
	VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .pushConstantRangeCount = 1, .pPushConstantRanges = &range};
	return dev->create_layout(dev->handle, &layout, NULL, &dev->layout);
}

VkResult lk_device_create(const lk_instance *in, uint64_t physical, const lk_description *d, const lk_queue_place *places, lk_device_options options, lk_device **out) {
	lk_features f;
	lk_features_query(in, lk_handle(physical), &f);
	keep_used(&f);
	const float priority[LK_QUEUES] = {1, 1};
	VkDeviceQueueCreateInfo queues[LK_QUEUES];
	for (int i = 0; i < LK_QUEUES; i++)
		queues[i] = (VkDeviceQueueCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
			.queueFamilyIndex = places[i].family, .queueCount = places[i].index + 1, .pQueuePriorities = priority};
	// A family is named once, with as many queues as are used of it.
	bool same_family = places[LK_WORK].family == places[LK_UPLOADS].family;
	if (same_family && places[LK_UPLOADS].index > places[LK_WORK].index)
		queues[0].queueCount = places[LK_UPLOADS].index + 1;
	VkDeviceCreateInfo create = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.pNext = &f.core,
		.queueCreateInfoCount = same_family ? 1 : LK_QUEUES,
		.pQueueCreateInfos = queues,
		.enabledExtensionCount = f.extensions,
		.ppEnabledExtensionNames = f.extension,
	};
	lk_device *dev = calloc(1, sizeof *dev);
	dev->options = options;
	dev->options.statistics = options.statistics && f.executables.pipelineExecutableInfo;
	VkResult r = in->create_device(lk_handle(physical), &create, NULL, &dev->handle);
	if (r == VK_SUCCESS && !load_device(dev, in->device_proc))
		r = VK_ERROR_INCOMPATIBLE_DRIVER;
	if (r == VK_SUCCESS) {
		for (int i = 0; i < LK_QUEUES; i++) {
			dev->queue[i].family = places[i].family;
			dev->get_queue(dev->handle, places[i].family, places[i].index, &dev->queue[i].handle);
		}
		r = create_objects(dev);
	}
	if (r != VK_SUCCESS) {
		lk_device_destroy(dev);
		return r;
	}
	*out = dev;
	return VK_SUCCESS;
}

void lk_device_destroy(lk_device *dev) {
	for (int i = 0; i < LK_QUEUES; i++)
		if (dev->queue[i].timeline)
			dev->destroy_semaphore(dev->handle, dev->queue[i].timeline, NULL);
	if (dev->layout)
		dev->destroy_layout(dev->handle, dev->layout, NULL);
	if (dev->cache)
		dev->destroy_cache(dev->handle, dev->cache, NULL);
	if (dev->handle && dev->destroy)
		dev->destroy(dev->handle, NULL);
	free(dev);
}

uint64_t lk_device_handle(const lk_device *dev) { return lk_number(dev->handle); }

// Concurrent sharing, not ownership handed over: a hand-over is a barrier on both queues, and one of them replays what was recorded at start. For
// buffers it costs nothing on the hardware known; it is images that lose their compression.
VkResult lk_buffer_create(const lk_device *dev, uint64_t size, uint64_t *out) {
	uint32_t families[LK_QUEUES] = {dev->queue[LK_WORK].family, dev->queue[LK_UPLOADS].family};
	bool shared = families[LK_WORK] != families[LK_UPLOADS];
	VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.size = size,
		.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
			VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
		.sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
		.queueFamilyIndexCount = shared ? LK_QUEUES : 0,
		.pQueueFamilyIndices = families,
	};
	VkBuffer buffer = VK_NULL_HANDLE;
	VkResult r = dev->create_buffer(dev->handle, &info, NULL, &buffer);
	*out = lk_number(buffer);
	return r;
}

uint64_t lk_buffer_address(const lk_device *dev, uint64_t buffer) {
	VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = lk_handle(buffer)};
	return dev->buffer_address(dev->handle, &info);
}

VkResult lk_cache_load(lk_device *dev, const void *data, size_t size) {
	VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = size, .pInitialData = data};
	return dev->create_cache(dev->handle, &info, NULL, &dev->cache);
}

VkResult lk_cache_data(const lk_device *dev, void *data, size_t *size) { return dev->cache_data(dev->handle, dev->cache, size, data); }

VkResult lk_pipeline_create(const lk_device *dev, uint64_t module, const uint32_t *spec, uint32_t specs, uint32_t required_subgroup, uint64_t *out) {
	VkSpecializationMapEntry entry[specs + 1];
	for (uint32_t i = 0; i < specs; i++)
		entry[i] = (VkSpecializationMapEntry){.constantID = i, .offset = i * sizeof *spec, .size = sizeof *spec};
	VkSpecializationInfo constants = {.mapEntryCount = specs, .pMapEntries = entry, .dataSize = specs * sizeof *spec, .pData = spec};
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO, .requiredSubgroupSize = required_subgroup};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.flags = dev->options.statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0,
		.stage = {
			.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			.pNext = required_subgroup ? &subgroup : NULL,
			.stage = VK_SHADER_STAGE_COMPUTE_BIT,
			.module = lk_handle(module),
			.pName = "main",
			.pSpecializationInfo = specs ? &constants : NULL,
		},
		.layout = dev->layout,
	};
	VkPipeline pipeline = VK_NULL_HANDLE;
	VkResult r = dev->create_pipelines(dev->handle, dev->cache, 1, &info, NULL, &pipeline);
	*out = lk_number(pipeline);
	return r;
}

void lk_pipeline_destroy(const lk_device *dev, uint64_t pipeline) { dev->destroy_pipeline(dev->handle, lk_handle(pipeline), NULL); }
