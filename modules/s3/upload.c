/* A put in parts (multipart upload): created, parts sent four at a time, completed; whatever fails
 * aborts it, so that no parts are left behind that cost money. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "s3/private.h"

#define PARTS_AT_ONCE 4

struct part {
    struct s3_upload *upload;
    struct s3_call *call;
    uint32_t number; /* from 1 */
    char etag[128];  /* with its quotes; empty: not there yet */
};

struct s3_upload {
    struct s3_store *store;
    char *key;
    struct myco_buf bytes;
    char id[MYCO_S3_TEXT_MAX + 1];
    struct part *parts;
    uint32_t part_count, next, done;
    struct s3_call *call; /* create, complete */
    int status;
    char message[512];
    myco_object_cb cb;
    void *data;
};

static void free_upload(struct s3_upload *upload)
{
    myco_buf_free(&upload->bytes);
    myco_free(upload->parts);
    myco_free(upload->key);
    myco_free(upload);
}

static void end(struct s3_upload *upload, int status, const char *message)
{
    upload->cb(status, message, upload->data);
    free_upload(upload);
}

static void on_aborted(
    int status, const char *message, const struct myco_http_answer *answer, void *data)
{
    struct s3_upload *upload = data;
    (void)status, (void)message, (void)answer;
    upload->call = NULL;
    end(upload, upload->status, upload->message);
}

/* Ends with `status` once the store was told to forget the parts, or could not be. */
static void give_up(struct s3_upload *upload, int status, const char *message)
{
    upload->status = status;
    snprintf(upload->message, sizeof(upload->message), "%s", message);
    for (uint32_t i = 0; i < upload->part_count; i++) {
        if (upload->parts[i].call != NULL) myco__s3_cancel(upload->parts[i].call);
        upload->parts[i].call = NULL;
    }
    struct s3_request request = {.method = "DELETE",
        .key = upload->key,
        .query = {{"uploadId", upload->id}},
        .query_count = 1};
    upload->call = myco__s3_send(upload->store, &request, on_aborted, upload);
}

static void on_completed(
    int status, const char *message, const struct myco_http_answer *answer, void *data)
{
    struct s3_upload *upload = data;
    (void)answer;
    upload->call = NULL;
    if (status != 0)
        give_up(upload, status, message);
    else
        end(upload, 0, "");
}

static void complete(struct s3_upload *upload)
{
    struct myco_buf body = {0};
    myco_buf_printf(&body, "<CompleteMultipartUpload>");
    for (uint32_t i = 0; i < upload->part_count; i++)
        myco_buf_printf(&body, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1,
            upload->parts[i].etag);
    myco_buf_printf(&body, "</CompleteMultipartUpload>");
    struct s3_request request = {.method = "POST",
        .key = upload->key,
        .query = {{"uploadId", upload->id}},
        .query_count = 1,
        .body = myco_buf_as_slice(&body)};
    upload->call = myco__s3_send(upload->store, &request, on_completed, upload);
    myco_buf_free(&body);
}

static void send_parts(struct s3_upload *upload);

static void on_part(
    int status, const char *message, const struct myco_http_answer *answer, void *data)
{
    struct part *part = data;
    struct s3_upload *upload = part->upload;
    const char *etag = status == 0 ? answer->header(answer, "ETag") : NULL;
    part->call = NULL;
    if (status != 0) {
        give_up(upload, status, message);
    } else if (etag == NULL || strlen(etag) >= sizeof(part->etag)) {
        give_up(upload, MYCO_EPROTO, "S3 answered a part without an ETag");
    } else {
        snprintf(part->etag, sizeof(part->etag), "%s", etag);
        upload->done++;
        if (upload->done == upload->part_count)
            complete(upload);
        else
            send_parts(upload);
    }
}

static void send_parts(struct s3_upload *upload)
{
    while (upload->next < upload->part_count && upload->next - upload->done < PARTS_AT_ONCE) {
        struct part *part = &upload->parts[upload->next];
        size_t offset = (size_t)upload->next * MYCO_S3_PART_SIZE;
        size_t size = upload->bytes.size - offset;
        char number[16];
        part->upload = upload;
        part->number = ++upload->next;
        snprintf(number, sizeof(number), "%u", part->number);
        struct s3_request request = {.method = "PUT",
            .key = upload->key,
            .query = {{"partNumber", number}, {"uploadId", upload->id}},
            .query_count = 2,
            .body = myco_bytes(
                upload->bytes.data + offset, size < MYCO_S3_PART_SIZE ? size : MYCO_S3_PART_SIZE)};
        part->call = myco__s3_send(upload->store, &request, on_part, part);
    }
}

static void on_created(
    int status, const char *message, const struct myco_http_answer *answer, void *data)
{
    struct s3_upload *upload = data;
    upload->call = NULL;
    if (status != 0)
        end(upload, status, message);
    else if (!myco_s3_read_element(
                 myco_buf_as_slice(answer->body), "UploadId", upload->id, sizeof(upload->id)))
        end(upload, MYCO_EPROTO, "S3 began a multipart upload without an id");
    else
        send_parts(upload);
}

struct s3_upload *myco__s3_upload(struct s3_store *store, const char *key, struct myco_slice bytes,
    const char *hash, myco_object_cb cb, void *data)
{
    struct s3_upload *upload = myco_alloc(sizeof(*upload));
    upload->store = store;
    upload->key = myco_strdup(key);
    upload->cb = cb;
    upload->data = data;
    myco_buf_bytes(&upload->bytes, bytes.data, bytes.size);
    upload->part_count = (uint32_t)((bytes.size + MYCO_S3_PART_SIZE - 1) / MYCO_S3_PART_SIZE);
    upload->parts = myco_alloc(upload->part_count * sizeof(*upload->parts));
    struct s3_request request = {.method = "POST",
        .key = key,
        .query = {{"uploads", ""}},
        .query_count = 1,
        .headers = {{"x-amz-meta-myco-sha256", hash}},
        .header_count = 1};
    upload->call = myco__s3_send(store, &request, on_created, upload);
    return upload;
}

void myco__s3_upload_cancel(struct s3_upload *upload)
{
    if (upload->call != NULL) myco__s3_cancel(upload->call);
    for (uint32_t i = 0; i < upload->part_count; i++)
        if (upload->parts[i].call != NULL) myco__s3_cancel(upload->parts[i].call);
    free_upload(upload);
}
