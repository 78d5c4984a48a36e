// Certificates for tests: an authority, and whom it vouches for, as PEM files in a directory of their own.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <thrum/net/tls_context.hpp>

namespace thrum::test {

class certificates {
 public:
  certificates() {
    std::string name = (std::filesystem::temp_directory_path() / "thrum-tls-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary directory");
    directory_ = name;
    authority_ = make("authority", "thrum's test authority", "", {nullptr, nullptr}, true);
  }
  ~certificates() { std::filesystem::remove_all(directory_); }

  std::string authority_file() const { return (directory_ / "authority.pem").string(); }

  // A certificate for the common name `name`, valid for `alternatives`, such as "DNS:a.example,IP:127.0.0.1".
  net::tls_certificate issue(const std::string& name, const std::string& alternatives) {
    make(name, name, alternatives, authority_, false);
    return files(name);
  }
  // One that nobody vouches for.
  net::tls_certificate issue_alone(const std::string& name, const std::string& alternatives) {
    make(name, name, alternatives, {nullptr, nullptr}, false);
    return files(name);
  }

 private:
  struct identity {
    std::shared_ptr<X509> certificate;
    std::shared_ptr<EVP_PKEY> key;
  };

  net::tls_certificate files(const std::string& name) const {
    return {(directory_ / (name + ".pem")).string(), (directory_ / (name + ".key")).string()};
  }

  static void extend(X509* to, X509* issuer, int what, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
    X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
    if (!e) throw std::runtime_error("bad extension " + value);
    X509_add_ext(to, e, -1);
    X509_EXTENSION_free(e);
  }

  identity make(const std::string& file, const std::string& name, const std::string& alternatives,
                const identity& issuer, bool is_authority) {
    const identity made{{X509_new(), X509_free}, {EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free}};
    X509* c = made.certificate.get();
    X509_set_version(c, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(c), -86400);
    X509_gmtime_adj(X509_getm_notAfter(c), 86400);
    X509_set_pubkey(c, made.key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* by = issuer.certificate ? issuer.certificate.get() : c;
    X509_set_issuer_name(c, X509_get_subject_name(by));
    extend(c, by, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (!alternatives.empty()) extend(c, by, NID_subject_alt_name, alternatives);
    X509_sign(c, issuer.key ? issuer.key.get() : made.key.get(), EVP_sha256());
    const auto names = files(file);
    write(names.chain_file, [&](std::FILE* f) { return PEM_write_X509(f, c); });
    write(names.key_file,
          [&](std::FILE* f) { return PEM_write_PrivateKey(f, made.key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    return made;
  }

  template <class Write>
  static void write(const std::string& file, Write write) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> f(std::fopen(file.c_str(), "w"), std::fclose);
    if (!f || !write(f.get())) throw std::runtime_error("cannot write " + file);
  }

  std::filesystem::path directory_;
  identity authority_;
  long serial_ = 0;
};

}  // namespace thrum::test
