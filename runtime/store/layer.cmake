# Tables, the journal, and hyphae on top of both.
set(store_sources table.c table_scan.c table_hint.c table_index.c table_slab.c domain.c
  journal.c journal_format.c journal_recover.c journal_segment.c journal_stream.c)
file(GLOB store_hypha RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/store CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/store/hypha*.c)
myco_layer(store SOURCES ${store_sources} ${store_hypha} NEEDS base env LIBS PkgConfig::CK)
