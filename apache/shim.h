/* What only C macros of httpd and APR can say, as functions. Nothing else belongs here. */
#ifndef RUSTGI_SHIM_H
#define RUSTGI_SHIM_H

#include "httpd.h"
#include "http_log.h"
#include "apr_buckets.h"

/* One record each. `text` is never a format string. */
void rustgi_log_request(const char *file, int line, int level, request_rec *r, const char *text);
void rustgi_log_server(const char *file, int line, int level, server_rec *s, const char *text);

/* Would a record of this level be written? */
int rustgi_request_logs(const request_rec *r, int level);
int rustgi_server_logs(const server_rec *s, int level);

/* The level up to which records are written. */
int rustgi_request_level(const request_rec *r);
int rustgi_server_level(const server_rec *s);

/* APR_BRIGADE_* and APR_BUCKET_* */
void rustgi_brigade_append(apr_bucket_brigade *brigade, apr_bucket *bucket);
apr_bucket *rustgi_brigade_first(apr_bucket_brigade *brigade);   /* NULL if it is empty */
int rustgi_bucket_is_end(const apr_bucket *bucket);
int rustgi_bucket_is_metadata(const apr_bucket *bucket);
apr_status_t rustgi_bucket_read(apr_bucket *bucket, const char **data, apr_size_t *length);
apr_status_t rustgi_bucket_split(apr_bucket *bucket, apr_size_t length);
void rustgi_bucket_delete(apr_bucket *bucket);

/* APR_STATUS_IS_* */
int rustgi_status_is_timeout(apr_status_t status);
int rustgi_status_is_end(apr_status_t status);

#endif
