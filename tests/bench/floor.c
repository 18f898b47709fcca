/* The floor: what httpd itself costs for a request, whoever answers it. A handler that answers with twelve fixed bytes. */

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"

static int answer(request_rec *r)
{
    if (strcmp(r->handler, "floor") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, 12);
    if (!r->header_only)
        ap_rwrite("Hello World!", 12, r);
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(answer, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(floor) = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks };
