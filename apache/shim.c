#include "shim.h"
#include "http_config.h"

/* The module record is defined in src/module.rs; its index names us in `LogLevel wsgi:...` and in the log. */
extern module AP_MODULE_DECLARE_DATA wsgi_module;
APLOG_USE_MODULE(wsgi);

void rustgi_log_request(const char *file, int line, int level, request_rec *r, const char *text)
{
    ap_log_rerror(file, line, APLOG_MODULE_INDEX, level, 0, r, "%s", text);
}

void rustgi_log_server(const char *file, int line, int level, server_rec *s, const char *text)
{
    ap_log_error(file, line, APLOG_MODULE_INDEX, level, 0, s, "%s", text);
}

int rustgi_request_logs(const request_rec *r, int level)
{
    return APLOG_R_MODULE_IS_LEVEL(r, APLOG_MODULE_INDEX, level);
}

int rustgi_server_logs(const server_rec *s, int level)
{
    return APLOG_MODULE_IS_LEVEL(s, APLOG_MODULE_INDEX, level);
}

int rustgi_request_level(const request_rec *r)
{
    return ap_get_request_module_loglevel(r, APLOG_MODULE_INDEX);
}

int rustgi_server_level(const server_rec *s)
{
    return ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);
}

void rustgi_brigade_append(apr_bucket_brigade *brigade, apr_bucket *bucket)
{
    APR_BRIGADE_INSERT_TAIL(brigade, bucket);
}

apr_bucket *rustgi_brigade_first(apr_bucket_brigade *brigade)
{
    return APR_BRIGADE_EMPTY(brigade) ? NULL : APR_BRIGADE_FIRST(brigade);
}

int rustgi_bucket_is_end(const apr_bucket *bucket)
{
    return APR_BUCKET_IS_EOS(bucket);
}

int rustgi_bucket_is_metadata(const apr_bucket *bucket)
{
    return APR_BUCKET_IS_METADATA(bucket);
}

apr_status_t rustgi_bucket_read(apr_bucket *bucket, const char **data, apr_size_t *length)
{
    return apr_bucket_read(bucket, data, length, APR_BLOCK_READ);
}

apr_status_t rustgi_bucket_split(apr_bucket *bucket, apr_size_t length)
{
    return apr_bucket_split(bucket, length);
}

void rustgi_bucket_delete(apr_bucket *bucket)
{
    apr_bucket_delete(bucket);
}

int rustgi_status_is_timeout(apr_status_t status)
{
    return APR_STATUS_IS_TIMEUP(status) || APR_STATUS_IS_ETIMEDOUT(status);
}

int rustgi_status_is_end(apr_status_t status)
{
    return APR_STATUS_IS_EOF(status) || APR_STATUS_IS_ECONNRESET(status)
        || APR_STATUS_IS_ECONNABORTED(status) || APR_STATUS_IS_EPIPE(status)
        || APR_STATUS_IS_INCOMPLETE(status);
}
