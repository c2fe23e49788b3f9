/* TLS 1.3 with certificates on both sides, between memory: OpenSSL sees no socket.
 *
 *     socket ─ receive ─→ [incoming BIO] ─ SSL ─ read  ─→ frames
 *     socket ←─ pending ─ [outgoing BIO] ─ SSL ─ write ←─ pieces
 *
 * A peer is trusted when its chain ends in ca.pem, which signs nothing but nodes of this cluster;
 * its name and address prove nothing more, so they are not compared. Who it is, HELLO says. */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/net_private.h"

#define CIPHER_SIZE_MAX (64 * 1024) /* taken from OpenSSL for one write */

struct myco__tls {
    SSL *ssl;
    BIO *incoming, *outgoing; /* owned by ssl */
    uint8_t *cipher;          /* on its way to the socket */
    size_t cipher_size, cipher_at;
    char detail[160];
};

/* ── The context: ca.pem, node.pem, node.key ────────────────────────────────────────────────── */

/* OpenSSL's oldest reason in words; empties its queue, which belongs to the thread. */
static const char *reason(char *text, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *words = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    myco_text_copy(text, size, words != NULL ? words : "no reason given");
    return text;
}

static int file_path(
    char path[PATH_MAX], const char *folder, const char *name, struct myco_err *err)
{
    int size = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    if (size < 0 || size >= PATH_MAX)
        return myco_err(err, MYCO_EINVAL, "TLS folder: name too long");
    if (access(path, R_OK) != 0) {
        int code = errno == ENOENT ? MYCO_ENOTFOUND : myco_err_from_errno(errno);
        myco_err_sys(err, errno, "read %s", path);
        if (err != NULL) err->code = code;
        return code;
    }
    return 0;
}

static int refuse_file(const char *path, struct myco_err *err)
{
    char text[128];
    return myco_err(err, MYCO_ECORRUPT, "%s: %s", path, reason(text, sizeof text));
}

static int load_ca(SSL_CTX *context, const char *folder, struct myco_err *err)
{
    char path[PATH_MAX];
    int status = file_path(path, folder, "ca.pem", err);
    if (status != 0) return status;
    if (SSL_CTX_load_verify_file(context, path) != 1) return refuse_file(path, err);
    return 0;
}

static int load_certificate(SSL_CTX *context, const char *folder, struct myco_err *err)
{
    char path[PATH_MAX];
    int status = file_path(path, folder, "node.pem", err);
    if (status != 0) return status;
    if (SSL_CTX_use_certificate_chain_file(context, path) != 1) return refuse_file(path, err);
    return 0;
}

static int load_key(SSL_CTX *context, const char *folder, struct myco_err *err)
{
    char path[PATH_MAX];
    int status = file_path(path, folder, "node.key", err);
    if (status != 0) return status;
    if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return refuse_file(path, err);
    return 0;
}

static int load(SSL_CTX *context, const char *folder, struct myco_err *err)
{
    int status = load_ca(context, folder, err);
    if (status == 0) status = load_certificate(context, folder, err);
    if (status == 0) status = load_key(context, folder, err);
    return status;
}

void *myco__tls_context_new(const char *folder, struct myco_err *err)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (context == NULL) {
        myco_err(err, MYCO_ENOMEM, "no memory for TLS");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);                 /* links are long; nothing is resumed */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* 32 KiB less for an idle peer */
    if (load(context, folder, err) != 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

void myco__tls_context_free(void *context)
{
    SSL_CTX_free(context);
}

/* ── One connection ─────────────────────────────────────────────────────────────────────────── */

struct myco__tls *myco__tls_new(void *context, bool dialled)
{
    struct myco__tls *tls = myco_alloc(sizeof *tls);
    BIO *incoming = BIO_new(BIO_s_mem()), *outgoing = BIO_new(BIO_s_mem());
    tls->ssl = SSL_new(context);
    if (incoming == NULL || outgoing == NULL || tls->ssl == NULL) {
        BIO_free(incoming);
        BIO_free(outgoing);
        myco__tls_free(tls);
        return NULL;
    }
    tls->incoming = incoming, tls->outgoing = outgoing;
    SSL_set_bio(tls->ssl, incoming, outgoing);
    if (dialled)
        SSL_set_connect_state(tls->ssl);
    else
        SSL_set_accept_state(tls->ssl);
    return tls;
}

void myco__tls_free(struct myco__tls *tls)
{
    if (tls == NULL) return;
    SSL_free(tls->ssl);
    myco_free(tls->cipher);
    myco_free(tls);
}

const char *myco__tls_detail(const struct myco__tls *tls)
{
    return tls->detail;
}

bool myco__tls_established(const struct myco__tls *tls)
{
    return SSL_is_init_finished(tls->ssl);
}

/* 0: OpenSSL only waits for more bytes; EPROTO: the connection is over, `detail` says why. */
static int outcome(struct myco__tls *tls, int result)
{
    int code = SSL_get_error(tls->ssl, result);
    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) return 0;
    long verified = SSL_get_verify_result(tls->ssl);
    if (verified != X509_V_OK) {
        ERR_clear_error();
        myco_text_copy(tls->detail, sizeof tls->detail, X509_verify_cert_error_string(verified));
    } else if (code == SSL_ERROR_ZERO_RETURN) {
        myco_text_copy(tls->detail, sizeof tls->detail, "closed by the other side");
    } else {
        reason(tls->detail, sizeof tls->detail);
    }
    return MYCO_EPROTO;
}

int myco__tls_start(struct myco__tls *tls)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    return result == 1 ? 0 : outcome(tls, result);
}

int myco__tls_receive(struct myco__tls *tls, struct myco_slice cipher)
{
    int taken = BIO_write(tls->incoming, cipher.data, (int)cipher.size);
    if (taken != (int)cipher.size) {
        myco_text_copy(tls->detail, sizeof tls->detail, "out of memory");
        return MYCO_EPROTO;
    }
    return myco__tls_established(tls) ? 0 : myco__tls_start(tls);
}

int myco__tls_read(struct myco__tls *tls, uint8_t *bytes, size_t size)
{
    if (!myco__tls_established(tls)) return 0;
    ERR_clear_error();
    int result = SSL_read(tls->ssl, bytes, (int)size);
    return result > 0 ? result : outcome(tls, result);
}

/* The outgoing BIO grows as needed, so a write is whole or an error. */
int myco__tls_write(struct myco__tls *tls, struct myco_slice plain)
{
    if (plain.size == 0) return 0;
    ERR_clear_error();
    int result = SSL_write(tls->ssl, plain.data, (int)plain.size);
    if (result == (int)plain.size) return 0;
    outcome(tls, result);
    return MYCO_EPROTO;
}

/* Bytes leave OpenSSL's BIO for memory of ours, since a write under way needs them to lie still
 * while the handshake may add others. Nothing is kept once all is written. */
struct myco_slice myco__tls_pending(struct myco__tls *tls)
{
    size_t waiting = BIO_ctrl_pending(tls->outgoing);
    if (tls->cipher_at == tls->cipher_size && waiting > 0) {
        if (waiting > CIPHER_SIZE_MAX) waiting = CIPHER_SIZE_MAX;
        tls->cipher = myco_realloc(tls->cipher, waiting);
        int size = BIO_read(tls->outgoing, tls->cipher, (int)waiting);
        tls->cipher_at = 0;
        tls->cipher_size = size > 0 ? (size_t)size : 0;
    }
    return myco_bytes(tls->cipher + tls->cipher_at, tls->cipher_size - tls->cipher_at);
}

void myco__tls_written(struct myco__tls *tls, size_t size)
{
    tls->cipher_at += size;
    if (tls->cipher_at < tls->cipher_size || BIO_ctrl_pending(tls->outgoing) > 0) return;
    myco_free(tls->cipher);
    tls->cipher = NULL;
    tls->cipher_at = tls->cipher_size = 0;
}
