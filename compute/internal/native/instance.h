// What instance.c shares with the other C files: the instance and its entry points.
#ifndef LORIKEET_INSTANCE_H
#define LORIKEET_INSTANCE_H

#include <pthread.h>

#include "native.h"

struct lk_message {
	struct lk_message *next;
	char text[];
};

struct lk_instance {
	VkInstance handle;
	VkDebugUtilsMessengerEXT messenger;
	pthread_mutex_t lock;              // of the messages
	struct lk_message *first, **last;

	PFN_vkDestroyInstance destroy;
	PFN_vkEnumeratePhysicalDevices enumerate;
	PFN_vkGetDeviceProcAddr device_proc;
	PFN_vkCreateDevice create_device;
	PFN_vkEnumerateDeviceExtensionProperties extensions;
	PFN_vkGetPhysicalDeviceFeatures2 features;
	PFN_vkGetPhysicalDeviceProperties properties1;
	PFN_vkGetPhysicalDeviceProperties2 properties;
	PFN_vkGetPhysicalDeviceMemoryProperties2 memory;
	PFN_vkGetPhysicalDeviceQueueFamilyProperties families;
	PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR shapes;                     // may be NULL
	PFN_vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV flexible;  // may be NULL
	PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
};

// The feature structs of a device, chained from `core`, and the extensions they come from.
typedef struct {
	VkPhysicalDeviceFeatures2 core;
	VkPhysicalDeviceVulkan11Features v11;
	VkPhysicalDeviceVulkan12Features v12;
	VkPhysicalDeviceVulkan13Features v13;
	VkPhysicalDeviceCooperativeMatrixFeaturesKHR cooperative;
	VkPhysicalDeviceCooperativeMatrix2FeaturesNV cooperative2;
	VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16;
	VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables;
	const char *extension[5];
	uint32_t extensions;
	bool multiprocessors; // can be counted
} lk_features;

// Asks the device for all it supports. `f` must stay where it is: its members point at each other.
void lk_features_query(const lk_instance *in, VkPhysicalDevice physical, lk_features *f);

static inline void *lk_handle(uint64_t h) { return (void *)(uintptr_t)h; }
static inline uint64_t lk_number(const void *h) { return (uint64_t)(uintptr_t)h; }

#endif
