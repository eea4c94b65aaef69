/* curl.c: see curl.h. RTLD_NOW: what is missing shows here, not when a key must be fetched. */
#include "egress/curl.h"

#include <dlfcn.h>

int curl_load(struct curl_api *ret, const char *library, struct err *e) {
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	void *at;

	*ret = (struct curl_api){ 0 };
	if (lib == NULL)
		return err_set(e, H_EFEATURE, "%s cannot be loaded", library);
		/* A pointer to data becomes one to a function: POSIX allows it, C has no cast for it. */
#define X(name) \
	at = dlsym(lib, "curl_" #name); \
	if (at == NULL) \
		return err_set(e, H_EFEATURE, "%s has no curl_" #name, library); \
	memcpy(&ret->name, &at, sizeof(at));
	CURL_FUNCTIONS(X)
#undef X
	return 0;
}
