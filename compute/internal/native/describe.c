#include "instance.h"

#include <stdlib.h>
#include <string.h>

static VkExtensionProperties *list_extensions(const lk_instance *in, VkPhysicalDevice physical, uint32_t *count) {
	*count = 0;
	if (in->extensions(physical, NULL, count, NULL) != VK_SUCCESS)
		return NULL;
	VkExtensionProperties *all = calloc(*count + 1, sizeof *all);
	if (in->extensions(physical, NULL, count, all) < 0)
		*count = 0;
	return all;
}

static bool has(const VkExtensionProperties *all, uint32_t count, const char *name) {
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(all[i].extensionName, name) == 0)
			return true;
	return false;
}

static uint32_t api_version(const lk_instance *in, VkPhysicalDevice physical) {
	VkPhysicalDeviceProperties p;
	in->properties1(physical, &p);
	return p.apiVersion;
}

void lk_features_query(const lk_instance *in, VkPhysicalDevice physical, lk_features *f) {
	memset(f, 0, sizeof *f);
	uint32_t count;
	VkExtensionProperties *all = list_extensions(in, physical, &count);
	void **tail = &f->core.pNext;
	f->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
#define CHAIN(member, type) (f->member.sType = (type), *tail = &f->member, tail = &f->member.pNext)
#define EXTENSION(name) (has(all, count, name) && (f->extension[f->extensions++] = (name)))
	uint32_t api = api_version(in, physical);
	if (api >= VK_API_VERSION_1_2) {
		CHAIN(v11, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
		CHAIN(v12, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
	}
	if (api >= VK_API_VERSION_1_3)
		CHAIN(v13, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES);
	EXTENSION(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
	f->multiprocessors = has(all, count, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME);
	if (EXTENSION(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) {
		CHAIN(cooperative, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR);
		if (EXTENSION(VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME))
			CHAIN(cooperative2, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV);
	}
	if (EXTENSION(VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME))
		CHAIN(bfloat16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR);
	if (EXTENSION(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME))
		CHAIN(executables, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR);
#undef CHAIN
#undef EXTENSION
	free(all);
	in->features(physical, &f->core);
}

static bool extension_on(const lk_features *f, const char *name) {
	for (uint32_t i = 0; i < f->extensions; i++)
		if (strcmp(f->extension[i], name) == 0)
			return true;
	return false;
}

static void describe_features(const lk_features *f, VkSubgroupFeatureFlags subgroup, bool *out) {
	out[LK_BUFFER_ADDRESS] = f->v12.bufferDeviceAddress;
	out[LK_TIMELINE] = f->v12.timelineSemaphore;
	out[LK_INT64] = f->core.features.shaderInt64;
	out[LK_SUBGROUP_BASIC] = subgroup & VK_SUBGROUP_FEATURE_BASIC_BIT;
	out[LK_SUBGROUP_ARITHMETIC] = subgroup & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
	out[LK_SUBGROUP_BALLOT] = subgroup & VK_SUBGROUP_FEATURE_BALLOT_BIT;
	out[LK_SUBGROUP_SHUFFLE] = subgroup & VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
	out[LK_STORAGE16] = f->v11.storageBuffer16BitAccess;
	out[LK_STORAGE8] = f->v12.storageBuffer8BitAccess;
	out[LK_FLOAT16] = f->v12.shaderFloat16;
	out[LK_INT8] = f->v12.shaderInt8;
	out[LK_INT16] = f->core.features.shaderInt16;
	out[LK_MEMORY_MODEL] = f->v12.vulkanMemoryModel && f->v12.vulkanMemoryModelDeviceScope;
	out[LK_SUBGROUP_SIZE_CONTROL] = f->v13.subgroupSizeControl;
	out[LK_FULL_SUBGROUPS] = f->v13.computeFullSubgroups;
	out[LK_SYNCHRONIZATION2] = f->v13.synchronization2;
	out[LK_MEMORY_BUDGET] = extension_on(f, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
	out[LK_COOPERATIVE] = f->cooperative.cooperativeMatrix;
	out[LK_COOPERATIVE2] = f->cooperative2.cooperativeMatrixFlexibleDimensions;
	out[LK_COOPERATIVE2_WORKGROUP] = f->cooperative2.cooperativeMatrixWorkgroupScope;
	out[LK_COOPERATIVE2_TENSORS] = f->cooperative2.cooperativeMatrixTensorAddressing;
	out[LK_BFLOAT16] = f->bfloat16.shaderBFloat16Type;
	out[LK_BFLOAT16_COOPERATIVE] = f->bfloat16.shaderBFloat16CooperativeMatrix;
	out[LK_PIPELINE_STATISTICS] = f->executables.pipelineExecutableInfo;
}

static uint32_t multiprocessors(const lk_instance *in, VkPhysicalDevice physical) {
	VkPhysicalDeviceShaderSMBuiltinsPropertiesNV builtins = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
	VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &builtins};
	in->properties(physical, &p);
	return builtins.shaderSMCount;
}

static VkSubgroupFeatureFlags describe_properties(const lk_instance *in, VkPhysicalDevice physical, lk_description *out) {
	VkPhysicalDeviceVulkan13Properties v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
	VkPhysicalDeviceVulkan12Properties v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
	VkPhysicalDeviceVulkan11Properties v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
	VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
	uint32_t api = api_version(in, physical);
	if (api >= VK_API_VERSION_1_2)
		p.pNext = &v11;
	if (api >= VK_API_VERSION_1_3)
		v12.pNext = &v13;
	in->properties(physical, &p);

	const VkPhysicalDeviceLimits *limits = &p.properties.limits;
	memcpy(out->name, p.properties.deviceName, sizeof out->name);
	memcpy(out->driver_name, v12.driverName, sizeof out->driver_name);
	memcpy(out->driver_info, v12.driverInfo, sizeof out->driver_info);
	out->type = p.properties.deviceType;
	out->api = api;
	out->subgroup = v11.subgroupSize;
	out->subgroup_min = v13.minSubgroupSize ? v13.minSubgroupSize : v11.subgroupSize;
	out->subgroup_max = v13.maxSubgroupSize ? v13.maxSubgroupSize : v11.subgroupSize;
	out->max_invocations = limits->maxComputeWorkGroupInvocations;
	out->max_shared = limits->maxComputeSharedMemorySize;
	out->max_push = limits->maxPushConstantsSize;
	memcpy(out->max_groups, limits->maxComputeWorkGroupCount, sizeof out->max_groups);
	out->max_allocation = v11.maxMemoryAllocationSize;
	if (v13.maxBufferSize && v13.maxBufferSize < out->max_allocation)
		out->max_allocation = v13.maxBufferSize;
	out->timestamp_period = limits->timestampPeriod;
	return v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT ? v11.subgroupSupportedOperations : 0;
}

// Prefers a family without graphics, whose work the driver need not interleave with drawing.
static void describe_queue(const lk_instance *in, VkPhysicalDevice physical, lk_description *out) {
	uint32_t count = 0;
	in->families(physical, &count, NULL);
	VkQueueFamilyProperties *all = calloc(count + 1, sizeof *all);
	in->families(physical, &count, all);
	out->families = count < LK_MAX_FAMILIES ? count : LK_MAX_FAMILIES;
	for (uint32_t i = 0; i < out->families; i++) {
		out->queue_family[i].flags = all[i].queueFlags;
		out->queue_family[i].queues = all[i].queueCount;
	}
	out->family = -1;
	for (uint32_t i = 0; i < count; i++) {
		bool compute = all[i].queueFlags & VK_QUEUE_COMPUTE_BIT, graphics = all[i].queueFlags & VK_QUEUE_GRAPHICS_BIT;
		if (!compute || all[i].queueCount == 0)
			continue;
		if (out->family < 0 || !graphics) {
			out->family = (int32_t)i;
			out->timestamp_bits = all[i].timestampValidBits;
		}
		if (!graphics)
			break;
	}
	free(all);
}

static void describe_memory(const lk_instance *in, VkPhysicalDevice physical, lk_description *out) {
	VkPhysicalDeviceMemoryProperties2 m = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
	in->memory(physical, &m);
	out->memory_types = m.memoryProperties.memoryTypeCount;
	out->memory_heaps = m.memoryProperties.memoryHeapCount;
	for (uint32_t i = 0; i < out->memory_types; i++) {
		out->memory_type[i].flags = m.memoryProperties.memoryTypes[i].propertyFlags;
		out->memory_type[i].heap = m.memoryProperties.memoryTypes[i].heapIndex;
	}
	for (uint32_t i = 0; i < out->memory_heaps; i++) {
		out->memory_heap[i].flags = m.memoryProperties.memoryHeaps[i].flags;
		out->memory_heap[i].size = m.memoryProperties.memoryHeaps[i].size;
	}
}

static void add_shape(lk_description *out, lk_shape s) {
	if (out->shapes < LK_MAX_SHAPES)
		out->shape[out->shapes++] = s;
}

// The loader hands out these two entry points even for drivers that lack them: ask only behind their features.
static void describe_shapes(const lk_instance *in, VkPhysicalDevice physical, lk_description *out) {
	uint32_t count = 0;
	if (out->features[LK_COOPERATIVE] && in->shapes && in->shapes(physical, &count, NULL) == VK_SUCCESS) {
		VkCooperativeMatrixPropertiesKHR *all = calloc(count + 1, sizeof *all);
		for (uint32_t i = 0; i < count; i++)
			all[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
		if (in->shapes(physical, &count, all) == VK_SUCCESS)
			for (uint32_t i = 0; i < count; i++)
				add_shape(out, (lk_shape){all[i].MSize, all[i].NSize, all[i].KSize, all[i].AType, all[i].BType, all[i].CType, all[i].ResultType, all[i].scope, 0});
		free(all);
	}
	count = 0;
	if (out->features[LK_COOPERATIVE2] && in->flexible && in->flexible(physical, &count, NULL) == VK_SUCCESS) {
		VkCooperativeMatrixFlexibleDimensionsPropertiesNV *all = calloc(count + 1, sizeof *all);
		for (uint32_t i = 0; i < count; i++)
			all[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV;
		if (in->flexible(physical, &count, all) == VK_SUCCESS)
			for (uint32_t i = 0; i < count; i++)
				add_shape(out, (lk_shape){all[i].MGranularity, all[i].NGranularity, all[i].KGranularity, all[i].AType, all[i].BType, all[i].CType,
					all[i].ResultType, all[i].scope, all[i].workgroupInvocations});
		free(all);
	}
}

void lk_describe(const lk_instance *in, uint64_t physical, lk_description *out) {
	VkPhysicalDevice pd = lk_handle(physical);
	memset(out, 0, sizeof *out);
	lk_features f;
	lk_features_query(in, pd, &f);
	describe_features(&f, describe_properties(in, pd, out), out->features);
	if (f.multiprocessors)
		out->multiprocessors = multiprocessors(in, pd);
	describe_queue(in, pd, out);
	describe_memory(in, pd, out);
	describe_shapes(in, pd, out);
}

uint64_t lk_heap_free(const lk_instance *in, uint64_t physical, uint32_t heap) {
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
	VkPhysicalDeviceMemoryProperties2 m = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
	in->memory(lk_handle(physical), &m);
	return budget.heapBudget[heap] > budget.heapUsage[heap] ? budget.heapBudget[heap] - budget.heapUsage[heap] : 0;
}
